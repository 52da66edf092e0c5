"""Folders that are called in another way than the layout's, links between them, and names that tables must hold."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cov3d.datasets import scan_table
from cov3d.errors import Cov3dError, DatasetError
from tests.datasets.test_folds import JPEG, labels_of, write_severities
from tests.datasets.test_layouts import HEADER, stoic, touch


def slices(root: Path, *scans: str) -> None:
    for scan in scans:
        (root / scan).mkdir(parents=True)
        for number in (1, 2):
            (root / scan / f"{number}.jpg").write_bytes(JPEG)


def build(root: Path) -> tuple[dict[str, str], list[str]]:
    built = scan_table.build(root, seed=0)
    return labels_of(built), [problem for problem in built.problems if "folds drawn" not in problem]


@pytest.mark.parametrize(
    ("train", "validation", "covid", "other"),
    [
        ("train", "validation", "covid", "Non-COVID"),
        ("Train", "Validation", "COVID", "non_covid"),
        ("TRAIN", "val", "Covid", "NonCOVID"),
        ("Training", "VAL", "CO-VID", "non covid"),
    ],
)
def test_class_and_partition_folders_are_known_in_any_spelling(
    tmp_path: Path, train: str, validation: str, covid: str, other: str
) -> None:
    slices(tmp_path, f"{train}/{covid}/a", f"{train}/{other}/b", f"{validation}/{covid}/a", f"{validation}/{other}/b")
    slices(tmp_path, "Task1/subset1/t")
    write_severities(tmp_path, "train", [("a", 3)])
    write_severities(tmp_path, "validation", [("a", 4)])
    table = scan_table.build(tmp_path, seed=0).table
    rows = {tuple(row) for row in table[["scan", "partition", "label"]].itertuples(index=False)}
    assert rows == {
        (f"{train}/{covid}/a", "train", "severe"),
        (f"{train}/{other}/b", "train", "non-covid"),
        (f"{validation}/{covid}/a", "validation", "critical"),
        (f"{validation}/{other}/b", "validation", "non-covid"),
        ("Task1/subset1/t", "test", ""),
    }
    assert set(table.loc[table["partition"] == "validation", "fold"]) == {0}


def test_two_folders_of_one_class_are_read_as_one_and_reported(tmp_path: Path) -> None:
    slices(tmp_path, "train/covid/a", "train/COVID/b", "train/non-covid/c", "val/covid/d", "validation/covid/e")
    write_severities(tmp_path, "train", [("a", 1), ("b", 2)])
    labels, problems = build(tmp_path)
    assert labels == {
        **{"train/covid/a": "mild", "train/COVID/b": "moderate", "train/non-covid/c": "non-covid"},
        **{"val/covid/d": "covid", "validation/covid/e": "covid"},
    }
    assert "train/COVID and train/covid are all read as covid" in problems
    assert "val and validation are all read as validation" in problems


def test_a_folder_that_means_nothing_is_reported_where_scans_would_be_lost(tmp_path: Path) -> None:
    slices(tmp_path, "train/covid/a", "train/non-covid/b", "train/healthy/c", "training2/covid/d", "elsewhere/e")
    (tmp_path / "train" / "masks").mkdir()
    write_severities(tmp_path, "train", [("a", 1)])
    labels, problems = build(tmp_path)
    assert set(labels) == {"train/covid/a", "train/non-covid/b"}
    assert problems == [
        "train/healthy is neither covid nor non-covid: left out",
        "training2 is none of train, validation and test: its scans are left out",
    ]


def test_mosmed_and_stoic_folders_are_known_in_any_spelling(tmp_path: Path) -> None:
    touch(tmp_path / "a", "Studies/ct-0/x.nii.gz", "Studies/CT_3/y.nii.gz", "Studies/CT4/z.nii.gz")
    assert build(tmp_path / "a") == (
        {"Studies/CT4/z.nii.gz": "critical", "Studies/CT_3/y.nii.gz": "severe", "Studies/ct-0/x.nii.gz": "non-covid"},
        [],
    )
    touch(tmp_path / "b", "Data/MHA/1.mha", "Data/MHA/2.mha")
    (tmp_path / "b" / "Metadata").mkdir()
    (tmp_path / "b" / "Metadata" / "Reference.csv").write_text(f"{HEADER}\n1,1,1\n2,0,0\n")
    assert build(tmp_path / "b") == ({"Data/MHA/1.mha": "covid-severe", "Data/MHA/2.mha": "non-covid"}, [])


def test_a_stoic_reference_that_labels_nobody_says_so(tmp_path: Path) -> None:
    for name, rows, sentence in (
        ("a", [], "metadata/reference.csv has a header and no rows: the scans have no label"),
        ("b", ["8,1,0", "9,0,0"], "none of the 2 patients of metadata/reference.csv has a file in data/mha"),
    ):
        built = stoic(tmp_path / name, [1, 2], *rows)
        assert sentence in "\n".join(built.problems)
        assert len(built.problems) == 1
        assert set(built.table["label"]) == {""}


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_to_a_scan_of_another_class_leaves_it_without_a_label(tmp_path: Path, absolute: bool) -> None:
    slices(tmp_path, "train/covid/a", "train/non-covid/b", "train/non-covid/c")
    target = tmp_path / "train/non-covid/b" if absolute else Path("../non-covid/b")
    (tmp_path / "train/covid/link").symlink_to(target)
    write_severities(tmp_path, "train", [("a", 1), ("link", 4)])
    labels, problems = build(tmp_path)
    assert labels == {
        **{"train/covid/a": "mild", "train/covid/link": "", "train/non-covid/b": "", "train/non-covid/c": "non-covid"}
    }
    assert problems == [
        "train/non-covid/b and train/covid/link are one scan, by a link, but train critical and train non-covid: "
        "left without a label"
    ]


def test_a_link_to_a_folder_of_another_class_and_into_another_partition(tmp_path: Path) -> None:
    slices(tmp_path, "train/covid/a", "train/non-covid/b", "validation/covid/c")
    (tmp_path / "train/covid/more").symlink_to(tmp_path / "train/non-covid")
    (tmp_path / "train/covid/c").symlink_to(tmp_path / "validation/covid/c")
    labels, _ = build(tmp_path)
    assert labels == {
        **{"train/covid/a": "covid", "train/covid/more/b": "", "train/non-covid/b": ""},
        **{"train/covid/c": "", "validation/covid/c": ""},
    }


def test_a_second_name_of_a_scan_in_its_own_class_is_left_out(tmp_path: Path) -> None:
    slices(tmp_path, "train/covid/b", "train/non-covid/c")
    (tmp_path / "train/covid/a").symlink_to("b")
    write_severities(tmp_path, "train", [("a", 2)])
    assert build(tmp_path) == (
        {"train/covid/b": "moderate", "train/non-covid/c": "non-covid"},
        ["train/covid/a is a link to train/covid/b: left out"],
    )


def test_a_dataset_made_of_links_is_a_dataset(tmp_path: Path) -> None:
    slices(tmp_path / "raw", "1", "2")
    for name, scan in (("covid", "1"), ("non-covid", "2")):
        (tmp_path / "data/train" / name).mkdir(parents=True)
        (tmp_path / "data/train" / name / "s").symlink_to(tmp_path / "raw" / scan)
    write_severities(tmp_path / "data", "train", [("s", 2)])
    assert build(tmp_path / "data") == ({"train/covid/s": "moderate", "train/non-covid/s": "non-covid"}, [])


@pytest.mark.parametrize("name", ["ct_scan_1\r", "a\nb", "a\tb", "a\x85b", "a\u2028b", "\x7f", "a\x1b[31m"])
@pytest.mark.parametrize("place", ["train/covid/{}", "{}/series", "train/covid/{}/series"])
def test_a_name_that_no_table_can_hold_is_refused(tmp_path: Path, name: str, place: str) -> None:
    scan = place.format(name)
    slices(tmp_path, scan)
    with pytest.raises(DatasetError) as error:
        scan_table.build(tmp_path, seed=0)
    assert repr(scan) in str(error.value)
    assert "rename" in str(error.value)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    slices(tmp_path, "train/covid/" + os.fsdecode(b"caf\xe9"))
    with pytest.raises(Cov3dError, match=r"not UTF-8.*: rename it"):
        scan_table.build(tmp_path, seed=0)


NAMES = st.text(
    st.one_of(
        st.sampled_from(" ,;\"'\\\ufeff\u00a0#=-é e\u0301"), st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: "/" not in name and not name.startswith(".") and len(name.encode()) < 100)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, min_size=1, max_size=4))
def test_every_other_name_comes_back_from_the_table(tmp_path: Path, names: set[str]) -> None:
    root = tmp_path / str(len(list(tmp_path.iterdir())))
    slices(root, *(f"train/non-covid/{name}" for name in names), "train/covid/x")
    no_scans = ("masks", "@eadir", "__macosx", "thumbs", "thumbnail", "thumbnails", "preview", "previews")
    if any(name.casefold() in no_scans for name in names):
        return
    built = scan_table.build(root, seed=0)
    scan_table.save(built.table, root / "scans.csv", built.origin)
    loaded = scan_table.load(root / "scans.csv")
    assert set(loaded["scan"]) == {f"train/non-covid/{name}" for name in names} | {"train/covid/x"}
    assert all((root / scan).is_dir() for scan in loaded["scan"])
    assert loaded.equals(built.table)
