"""Whether a scan table still fits the dataset: what is said, and where nothing may be said."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cov3d.datasets import scan_table
from cov3d.datasets.stale import compare_tables, stale_sentence
from tests.datasets.test_folds import JPEG, write_severities
from tests.datasets.test_layouts import HEADER, touch


def scan(root: Path, name: str) -> None:
    (root / name).mkdir(parents=True)
    for number in (1, 2):
        (root / name / f"{number}.jpg").write_bytes(JPEG)


def cov19(root: Path) -> None:
    for number in range(5):
        scan(root, f"train/covid/a{number}")
        scan(root, f"train/non-covid/b{number}")
    scan(root, "validation/covid/c")
    scan(root, "task1/subset1/t")
    write_severities(root, "train", [(f"a{number}", 1) for number in range(4)])
    write_severities(root, "validation", [("c", 2)])


def stoic(root: Path) -> None:
    touch(root, *(f"data/mha/{number}.mha" for number in range(5)))
    (root / "metadata").mkdir()
    (root / "metadata/reference.csv").write_text(HEADER + "".join(f"\n{number},1,0" for number in range(5)))


def mosmed(root: Path) -> None:
    touch(root, *(f"studies/CT-{number}/s{number}.nii.gz" for number in range(5)))


def tree(root: Path) -> None:
    for number in range(3):
        scan(root, f"hospital/p{number}/series")


def made(root: Path, layout: Callable[[Path], None], splits: Path | None = None) -> Path:
    """A dataset with its table."""
    layout(root)
    built = scan_table.build(root, 0, splits)
    scan_table.save(built.table, root / "scans.csv", built.origin)
    return root


def reported(root: Path, file: Path | None = None) -> str | None:
    file = file or root / "scans.csv"
    return stale_sentence(root, file, scan_table.load(file))


def edit(root: Path, old: str, new: str) -> None:
    text = (root / "scans.csv").read_text()
    assert old in text
    (root / "scans.csv").write_text(text.replace(old, new))


@pytest.mark.parametrize("layout", [cov19, stoic, mosmed, tree])
def test_a_fresh_table_fits(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    root = made(tmp_path / "data", layout)
    for folder in ("preprocessed/tiny/volumes", "runs/one", "report"):
        (root / folder).mkdir(parents=True)
    (root / "preprocessed/tiny/settings.json").touch()
    assert reported(root) is None
    moved = root.rename(tmp_path / "elsewhere")
    assert reported(moved) is None


@pytest.mark.parametrize(
    ("layout", "new", "gone"),
    [
        (cov19, "validation/non-covid/x", "train/covid/a1"),
        (cov19, "task2/set/x", "task1/subset1/t"),
        (stoic, "data/mha/9.mha", "data/mha/3.mha"),
        (mosmed, "studies/CT-3/x.nii.gz", "studies/CT-4/s4.nii.gz"),
        (tree, "hospital/p9/series", "hospital/p0/series"),
    ],
)
def test_scans_that_came_and_went_are_named(
    tmp_path: Path, layout: Callable[[Path], None], new: str, gone: str
) -> None:
    root = made(tmp_path, layout)
    if new.endswith(("mha", "gz")):
        touch(root, new)
        (root / gone).unlink()
    else:
        scan(root, new)
        shutil.rmtree(root / gone)
    assert reported(root) == (
        f"{root / 'scans.csv'} does not fit the dataset any more: 1 scan new ({new}), 1 scan gone ({gone}). "
        f"Make it again: cov3d folds --data {root} --overwrite"
    )


def test_a_corrected_grade_is_seen_though_size_and_time_of_the_file_are_the_same(tmp_path: Path) -> None:
    root = made(tmp_path, cov19)
    (root / "ICASSP_severity_train_partition.xlsx").unlink()
    file = root / "train_partition_covid_categories.csv"
    file.write_text("Name;Category\n" + "".join(f"a{number};1\n" for number in range(4)))
    assert reported(root) is None
    before = file.stat()
    file.write_text("Name;Category\na0;1\na1;4\na2;1\na3;1\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert "1 scan with another label (train/covid/a1: mild, now critical). Make it again" in (reported(root) or "")


def test_labels_of_stoic_and_withdrawn_grades_are_compared(tmp_path: Path) -> None:
    root = made(tmp_path / "a", stoic)
    reference = root / "metadata/reference.csv"
    reference.write_text(reference.read_text().replace("3,1,0", "3,1,1"))
    assert "data/mha/3.mha: covid-not-severe, now covid-severe" in (reported(root) or "")
    root = made(tmp_path / "b", cov19)
    write_severities(root, "train", [("a0", 1), ("a2", 1), ("a3", 1)])
    assert "(train/covid/a1: mild, now covid)" in (reported(root) or "")


def test_many_differences_are_counted_and_the_first_named(tmp_path: Path) -> None:
    root = made(tmp_path, cov19)
    for number in range(7):
        scan(root, f"train/non-covid/x{number}")
    found = reported(root) or ""
    assert "7 scans new (train/non-covid/x0; train/non-covid/x1; train/non-covid/x2; …)" in found


def test_what_a_person_edited_is_no_difference(tmp_path: Path) -> None:
    root = made(tmp_path, cov19)
    edit(root, "train/covid/a1,train,mild", "train/covid/a1,train,severe")
    table = scan_table.load(root / "scans.csv")
    table = table[table["scan"] != "train/covid/a2"].assign(fold=lambda rows: rows["fold"].where(rows["fold"] != 3, 1))
    table.to_csv(root / "scans.csv", index=False)
    assert reported(root) is None
    write_severities(root, "train", [("a0", 1), ("a1", 3), ("a2", 4), ("a3", 1)])
    assert reported(root) is None  # the table says so already, or leaves the scan out
    write_severities(root, "train", [("a0", 2), ("a1", 3), ("a2", 4), ("a3", 1)])
    assert "(train/covid/a0: mild, now moderate). Make it again (manual changes in it are lost): " in (
        reported(root) or ""
    )


def test_the_store_alone_gives_no_alarm(tmp_path: Path) -> None:
    for name, layout in {"cov19": cov19, "stoic": stoic, "mosmed": mosmed, "tree": tree}.items():
        root = made(tmp_path / name, layout)
        for folder in ("train", "validation", "task1", "data", "studies", "hospital"):
            shutil.rmtree(root / folder, ignore_errors=True)
        (root / "preprocessed/tiny/volumes/train/covid/a0").mkdir(parents=True)
        (root / "preprocessed/tiny/settings.json").touch()
        assert reported(root) is None, name
        (root / "scans.origin.json").unlink()
        assert reported(root) is None, name


def test_a_missing_file_of_labels_gives_no_alarm(tmp_path: Path) -> None:
    root = made(tmp_path, cov19)
    (root / "ICASSP_severity_validation_partition.xlsx").unlink()
    assert reported(root) is None
    write_severities(root, "train", [("a0", 1), ("a1", 1), ("a2", 1)])
    assert "(train/covid/a3: mild, now covid)" in (reported(root) or "")


def test_a_table_made_by_hand_is_compared_where_there_is_a_layout_only(tmp_path: Path) -> None:
    tree(tmp_path / "a")
    (tmp_path / "a/scans.csv").write_text(
        "scan,partition,label,fold\nhospital/p0/series,train,mild,0\nx,train,mild,1\n"
    )
    assert reported(tmp_path / "a") is None
    root = made(tmp_path / "b", cov19)
    (root / "scans.origin.json").write_text("{}")  # as of no origin
    assert reported(root) is None
    write_severities(root, "train", [("a0", 4), ("a1", 1), ("a2", 1), ("a3", 1)])
    assert reported(root) == (
        f"{root / 'scans.csv'} does not fit the dataset: 1 scan with another label (train/covid/a0: mild, now "
        f"critical). Unless you made it by hand, make it again: cov3d folds --data {root} --overwrite"
    )


def test_a_table_of_splits_is_known_to_the_table_and_compared_by_content(tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("path,split,has_covid,category\ntrain/covid/a0,1,1,critical\ntrain/non-covid/b0,2,0,\n")
    root = made(tmp_path / "data", cov19, splits)
    assert reported(root) is None
    splits.write_text(splits.read_text().replace("critical", "severe"))
    found = reported(root) or ""
    assert f"the table of splits {splits} was changed" in found
    assert found.endswith(f"cov3d folds --data {root} --splits {splits} --overwrite")
    splits.unlink()
    assert reported(root) is None


def test_a_file_of_labels_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    root = made(tmp_path, cov19)
    (root / "ICASSP_severity_train_partition.xlsx").write_bytes(b"PK")
    found = reported(root) or ""
    assert found.startswith(f"{root / 'scans.csv'} can't be compared with the dataset: ")
    assert "can't be read as an Excel file" in found


def test_no_folder_of_a_scan_in_the_table_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path, cov19)
    listed: list[str] = []
    real = os.scandir

    def scandir(path: Path | str) -> object:
        listed.append(Path(path).relative_to(root).as_posix())
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    scan(root, "train/covid/new")
    assert "1 scan new (train/covid/new)" in (reported(root) or "")
    scans = set(scan_table.load(root / "scans.csv")["scan"])
    assert "train/covid/new" in listed
    assert not scans & set(listed)
    assert max(listed.count(folder) for folder in ("train/covid", "train/non-covid")) <= 2


def test_two_tables_are_compared_by_folds_labels_and_scans() -> None:
    columns = ["scan", "partition", "label", "fold"]
    rows = [("a", "train", "mild", 1), ("b", "train", "mild", 2), ("c", "train", "covid", 3), ("t", "test", "", None)]
    before = pd.DataFrame(rows, columns=columns).astype({"fold": "Int64"})
    rows = [("a", "train", "mild", 1), ("b", "train", "severe", 4), ("d", "train", "covid", 3), ("t", "test", "", None)]
    after = pd.DataFrame(rows, columns=columns).astype({"fold": "Int64"})
    assert compare_tables(before, after) == (
        "1 of 3 scans moved to another fold (b), 1 scan new (d), 1 scan gone (c), "
        "1 scan with another label (b: mild, now severe)"
    )
    assert compare_tables(after, after) == "0 of 4 scans moved to another fold"
