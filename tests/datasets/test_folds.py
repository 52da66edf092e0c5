"""The scan table: COV19-CT-DB's layout, its severity files, and the split into folds."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cov3d.datasets import cov19ctdb, scan_table
from cov3d.datasets.folds import assign_folds
from cov3d.errors import DatasetError, ScanError
from cov3d.labels import SEVERITIES
from tests.conftest import write_slices

COUNTS = {
    "train": {"mild": 132, "moderate": 123, "severe": 166, "critical": 39, "covid": 462, "non-covid": 2110},
    "validation": {"mild": 31, "moderate": 20, "severe": 45, "critical": 5, "covid": 124, "non-covid": 469},
}
"""COV19-CT-DB of 2023."""
JPEG = bytes.fromhex("ffd8ffd9")  # finding scans opens no slice


def lay_out(root: Path, counts: dict[str, dict[str, int]], order: int = 1) -> None:
    """Scan folders and severity files with `counts`; `order` −1 makes everything in the opposite order."""
    for partition, labels in counts.items():
        rows: list[tuple[str, int]] = []
        folders: list[Path] = []
        number = {"covid": 0, "non-covid": 0}
        for label, count in labels.items():
            presence = "non-covid" if label == "non-covid" else "covid"
            for _ in range(count):
                n = number[presence]
                number[presence] += 1
                name = f"ct_scan_{n}" if n % 2 else f"ct_scan{n}"
                folders.append(root / partition / presence / name)
                if label in SEVERITIES:
                    rows.append((name, SEVERITIES.index(label) + 1))
        for folder in folders[::order]:
            folder.mkdir(parents=True)
            for slice_name in ("1.jpg", "2.jpg"):
                (folder / slice_name).write_bytes(JPEG)
        rows.append(rows[0])  # the real files repeat some rows
        write_severities(root, partition, rows[::order])


def write_severities(root: Path, partition: str, rows: list[tuple[object, object]]) -> None:
    pd.DataFrame(rows, columns=["Name", "Category"]).to_excel(root / cov19ctdb.SEVERITY_FILES[partition], index=False)


def small(root: Path, rows: list[tuple[object, object]]) -> scan_table.Built:
    """A dataset of four COVID and two other scans in train, with the given severity rows."""
    for n in range(4):
        write_slices(root / "train" / "covid" / f"ct_scan_{n}", np.zeros((2, 8, 8), np.uint8))
    for n in range(2):
        write_slices(root / "train" / "non-covid" / f"ct_scan_{n}", np.zeros((2, 8, 8), np.uint8))
    write_severities(root, "train", rows)
    return scan_table.build(root, seed=0)


def labels_of(built: scan_table.Built) -> dict[str, str]:
    return dict(zip(built.table["scan"], built.table["label"], strict=True))


def test_the_full_dataset_is_split_evenly_and_its_validation_partition_is_fold_0(tmp_path: Path) -> None:
    lay_out(tmp_path, COUNTS)
    built = scan_table.build(tmp_path, seed=0)
    table = built.table
    assert built.problems == []
    assert len(table) == 3726
    assert (table["fold"].eq(0) == table["partition"].eq("validation")).all()
    for label, count in COUNTS["train"].items():
        in_folds = [int(((table["fold"] == fold) & (table["label"] == label)).sum()) for fold in range(1, 5)]
        assert sum(in_folds) == count
        assert max(in_folds) - min(in_folds) <= 1
    assert Counter(table.loc[table["fold"] == 0, "label"]) == COUNTS["validation"]
    totals = [int((table["fold"] == fold).sum()) for fold in range(1, 5)]
    assert max(totals) - min(totals) <= 1


def test_the_table_does_not_depend_on_the_order_of_the_directory(tmp_path: Path) -> None:
    few = {"train": {"mild": 6, "severe": 5, "covid": 9, "non-covid": 12}, "validation": {"mild": 3, "non-covid": 3}}
    lay_out(tmp_path / "a", few)
    lay_out(tmp_path / "b", few, order=-1)
    first, second = (scan_table.build(tmp_path / name, seed=3).table for name in "ab")
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(scan_table.build(tmp_path / "a", seed=4).table)


def test_folds_are_fixed_for_ever() -> None:
    # By b2sum -l 128, seed 0: label x prefers folds 4, 3, 1, 2, so that fold 2 gets the one of y. The turn of a comes
    # first (28), then c (5b), then b (bc); a prefers 3, c prefers 1, b prefers 1, 3, 2, 4, and 1 and 3 are full.
    assert assign_folds({"a": "x", "b": "x", "c": "x", "d": "y"}, range(1, 5), seed=0) == {
        "a": 3,
        "c": 1,
        "b": 4,
        "d": 2,
    }


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text("abc123/_", min_size=1, max_size=8), st.sampled_from("xyz"), max_size=60),
    st.integers(1, 6),
    st.integers(0, 9),
)
def test_any_split_is_even_and_complete(labels: dict[str, str], folds: int, seed: int) -> None:
    assigned = assign_folds(labels, range(folds), seed)
    assert assigned.keys() == labels.keys()
    for label in set(labels.values()) | {None}:
        counts = Counter(assigned[scan] for scan in labels if label in (None, labels[scan]))
        every = [counts[fold] for fold in range(folds)]
        assert max(every) - min(every) <= 1


def test_repeated_rows_collapse_and_names_may_lack_the_underscore(tmp_path: Path) -> None:
    built = small(tmp_path, [("ct_scan_0", 1), ("ct_scan_0", 1), ("ct_scan1", 4), (" ct_scan_2 ", 2.0)])
    labels = labels_of(built)
    assert [labels[f"train/covid/ct_scan_{n}"] for n in range(4)] == ["mild", "critical", "moderate", "covid"]
    assert labels["train/non-covid/ct_scan_0"] == "non-covid"
    assert not [problem for problem in built.problems if "row" in problem]


def test_contradictions_foreign_names_and_foreign_grades_are_each_reported(tmp_path: Path) -> None:
    built = small(
        tmp_path, [("ct_scan_0", 1), ("ct_scan_0", 3), ("ct_scan_99", 2), ("ct_scan_1", 7), ("ct_scan_2", "x")]
    )
    labels = labels_of(built)
    assert {labels[f"train/covid/ct_scan_{n}"] for n in range(4)} == {"covid"}
    text = "\n".join(built.problems)
    assert "ct_scan_0 disagree (mild, severe)" in text
    assert "row 4: 'ct_scan_99' is no folder under train/covid" in text
    assert "row 5: 'ct_scan_1' has category 7" in text
    assert "row 6: 'ct_scan_2' has category 'x'" in text


def test_a_name_that_fits_two_folders_but_neither_exactly_is_reported(tmp_path: Path) -> None:
    for name in ("ct_scan_1", "ct_scan1"):
        write_slices(tmp_path / "train" / "covid" / name, np.zeros((2, 8, 8), np.uint8))
    write_severities(tmp_path, "train", [("ct_scan_1", 2), ("CT_SCAN1", 3)])
    built = scan_table.build(tmp_path, seed=0)
    assert labels_of(built) == {"train/covid/ct_scan_1": "moderate", "train/covid/ct_scan1": "covid"}
    assert any("'CT_SCAN1' is no folder" in problem for problem in built.problems)


def test_a_missing_severity_file_a_small_class_and_an_empty_folder_are_reported(tmp_path: Path) -> None:
    write_slices(tmp_path / "train" / "covid" / "ct_scan_0", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "train" / "covid" / "ct_scan_1").mkdir()
    (tmp_path / "train" / "covid" / "again").symlink_to(tmp_path / "train")
    built = scan_table.build(tmp_path, seed=0)
    text = "\n".join(built.problems)
    assert "ICASSP_severity_train_partition.xlsx is missing" in text
    assert "train/covid/ct_scan_1 holds no JPEG slices" in text
    assert "only 1 training scan is covid" in text
    assert len(built.table) == 1


def test_without_a_validation_partition_all_five_folds_are_made(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train": {"mild": 10, "non-covid": 10}})
    table = scan_table.build(tmp_path, seed=0).table
    assert Counter(table["fold"]) == dict.fromkeys(range(5), 4)


def test_the_test_set_has_no_label_and_no_fold(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train": {"mild": 4, "non-covid": 4}})
    for scan in ("task1/subset1/test_ct_scan_3", "task1/subset11/test_ct_scan_4", "task2/part_2_test_set_ICASSP_23/s"):
        write_slices(tmp_path / scan, np.zeros((2, 8, 8), np.uint8))
    table = scan_table.build(tmp_path, seed=0).table
    test = table[table["partition"] == "test"]
    assert len(test) == 3
    assert (test["label"] == "").all()
    assert test["fold"].isna().all()


def test_a_tree_of_no_known_layout_is_listed_without_labels(tmp_path: Path) -> None:
    for scan in ("patient1/series", "patient2/series"):
        write_slices(tmp_path / scan, np.zeros((2, 8, 8), np.uint8))
    table = scan_table.build(tmp_path, seed=0).table
    assert table["scan"].tolist() == ["patient1/series", "patient2/series"]
    assert (table["label"] == "").all()


def test_a_table_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train": {"mild": 4, "non-covid": 4}, "validation": {"severe": 1}})
    write_slices(tmp_path / "task1" / "subset1" / "t", np.zeros((2, 8, 8), np.uint8))
    table = scan_table.build(tmp_path, seed=0).table
    scan_table.save(table, tmp_path / "scans.csv")
    pd.testing.assert_frame_equal(scan_table.load(tmp_path / "scans.csv"), table)
    assert (tmp_path / "scans.csv").read_text().splitlines()[0] == "scan,partition,label,fold"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "must have the columns"),
        ("scan,partition,label,fold\ns,train,mild,9\n", "line 2: fold is '9'"),
        ("scan,partition,label,fold\ns,train,bad,1\n", "line 2: label is 'bad'"),
        ("scan,partition,label,fold\ns,other,mild,1\n", "line 2: partition is 'other'"),
        ("scan,partition,label,fold\ns,train,mild,1\ns,train,mild,1\n", "more than once"),
        ("scan,partition,label,fold\n../s,train,mild,1\n", "not a path below"),
        ("", "can't be read"),
        ('scan,partition\n"', "can't be read|columns"),
    ],
)
def test_a_file_that_is_no_scan_table_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "scans.csv"
    file.write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        scan_table.load(file)


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset folder"):
        scan_table.build(tmp_path / "nowhere", seed=0)
    with pytest.raises(ScanError, match="no scan"):
        scan_table.build(tmp_path, seed=0)
    write_slices(tmp_path, np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(DatasetError, match="holds slices itself"):
        scan_table.build(tmp_path, seed=0)


@pytest.mark.parametrize("content", [b"", b"not a spreadsheet", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)])
def test_a_severity_file_that_is_no_excel_file_is_refused(tmp_path: Path, content: bytes) -> None:
    write_slices(tmp_path / "train" / "covid" / "ct_scan_0", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / cov19ctdb.SEVERITY_FILES["train"]).write_bytes(content)
    with pytest.raises(DatasetError, match="can't be read as an Excel file"):
        scan_table.build(tmp_path, seed=0)
