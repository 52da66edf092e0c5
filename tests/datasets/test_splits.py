"""Tables of splits: what they say, in every form taken, and what is wrong with them."""

from pathlib import Path

import pandas as pd
import pytest

from cov3d.datasets import scan_table
from cov3d.errors import DatasetError
from tests.datasets.test_folds import lay_out
from tests.datasets.test_layouts import touch

HEADER = "path,split,has_covid,category"


def build(root: Path, *rows: str, header: str = HEADER) -> scan_table.Built:
    """The scan table of the dataset at `root` under a table of splits."""
    file = root / "splits.csv"
    file.write_text("\n".join((header, *rows)) + "\n")
    return scan_table.build(root, seed=0, splits=file)


def small(root: Path, *rows: str) -> scan_table.Built:
    """Six training scans, two of validation."""
    few = {"train": {"mild": 2, "covid": 2, "non-covid": 2}, "validation": {"severe": 1, "non-covid": 1}}
    lay_out(root, few)
    return build(root, *rows)


def rows_of(built: scan_table.Built) -> dict[str, tuple[str, str, int | None]]:
    rows = built.table.itertuples(index=False)
    return {row.scan: (row.partition, row.label, None if pd.isna(row.fold) else row.fold) for row in rows}


def test_the_papers_splits_are_folds_and_its_categories_labels(tmp_path: Path) -> None:
    built = small(
        tmp_path,
        "train/covid/ct_scan0,3,1,Moderate",
        "/elsewhere/cov19/train/covid/ct_scan_1/,1,1,Critical",
        "train\\covid\\ct_scan_2,4,True,covid",  # the folder is ct_scan2
        "train/covid/ct_scan_3,1,1,",
        "train/non-covid/ct_scan0,2,0,non-covid",
        "train/non-covid/ct_scan_1,3,0,",
        "validation/covid/ct_scan0,0,,Severe",
        "validation/non-covid/ct_scan0,0,0,-",
    )
    assert rows_of(built) == {
        "train/covid/ct_scan0": ("train", "moderate", 3),
        "train/covid/ct_scan_1": ("train", "critical", 1),
        "train/covid/ct_scan2": ("train", "covid", 4),
        "train/covid/ct_scan_3": ("train", "covid", 1),
        "train/non-covid/ct_scan0": ("train", "non-covid", 2),
        "train/non-covid/ct_scan_1": ("train", "non-covid", 3),
        "validation/covid/ct_scan0": ("validation", "severe", 0),
        "validation/non-covid/ct_scan0": ("validation", "non-covid", 0),
    }
    assert built.problems == [
        "train/covid/ct_scan0 is mild in the dataset and moderate in splits.csv, which is used",
        "train/covid/ct_scan_1 is mild in the dataset and critical in splits.csv, which is used",
    ]


def test_a_table_of_splits_labels_files_of_no_known_layout(tmp_path: Path) -> None:
    touch(tmp_path, *(f"scans/{name}.nii.gz" for name in "abcdefgh"))
    built = build(
        tmp_path,
        "a.nii.gz;train;1;covid-severe",
        "scans/b.nii.gz;Training;1;COVID not severe",
        "scans/b.nii.gz;train;1;covid_not_severe",
        "scans/c.nii.gz;val;0;non_covid",
        "scans/d.nii.gz;test;;",
        "scans/e.nii.gz;fold 2;yes;covid",
        "scans/f.nii.gz;2.0;no;",
        "scans/g.nii.gz;2;;",
        header=HEADER.replace(",", ";"),
    )
    found = rows_of(built)
    assert found["scans/c.nii.gz"] == ("validation", "non-covid", 0)
    assert found["scans/d.nii.gz"] == ("test", "", None)
    assert found["scans/e.nii.gz"] == ("train", "covid", 2)
    assert found["scans/f.nii.gz"] == ("train", "non-covid", 2)
    assert found["scans/g.nii.gz"] == ("train", "", 2)
    assert found["scans/h.nii.gz"] == ("test", "", None)
    partition, label, fold = found["scans/b.nii.gz"]
    assert (partition, label) == ("train", "covid-not-severe")
    assert fold in (1, 2, 3, 4)  # a random fold, and not the validation partition's
    assert found["scans/a.nii.gz"] == ("test", "", None)
    assert "splits.csv line 2: 'a.nii.gz' is no scan of the dataset" in built.problems


@pytest.mark.parametrize(
    ("category", "has_covid", "label"),
    [
        *((str(number), "", label) for number, label in enumerate(("non-covid", "mild", "moderate", "severe"))),
        *(("4.0", "1", "critical"), ("5", "1", "covid"), ("MILD", "positive", "mild"), (" Severe ", "1.0", "severe")),
    ],
)
def test_categories_are_words_or_the_numbers_of_the_paper(
    tmp_path: Path, category: str, has_covid: str, label: str
) -> None:
    touch(tmp_path, "a.mha")
    built = build(tmp_path, f"a.mha,1,{has_covid},{category}")
    assert rows_of(built) == {"a.mha": ("train", label, 1)}
    assert built.problems == []


@pytest.mark.parametrize(
    ("rows", "wanted", "sentence"),
    [
        (["a.mha,1,0,Mild"], ("train", "", 1), "line 2: a.mha is mild, but has_covid is 0"),
        (["a.mha,1,1,non-covid"], ("train", "", 1), "line 2: a.mha is non-covid, but has_covid is 1"),
        (["a.mha,1,1,light"], ("train", "", 1), "line 2: category of a.mha is 'light': no label"),
        (["a.mha,1,maybe,"], ("train", "", 1), "line 2: has_covid of a.mha is 'maybe': no label"),
        (["a.mha,1,1,Mild", "a.mha,1,1,Severe"], ("train", "covid", 1), "disagree (mild and severe)"),
        (["a.mha,1,1,Mild", "a.mha,1,0,"], ("train", "", 1), "disagree (mild and non-covid)"),
        (
            ["a.mha,1,1,Mild", "a.mha,3,1,Mild"],
            ("train", "mild", None),
            "lines 2 and 3: a.mha is in the splits 1 and 3",
        ),
        (["a.mha,5,1,Mild"], ("train", "mild", None), "line 2: split of a.mha is '5', not 0 to 4, train, validation"),
        (["a.mha,,1,Mild"], ("train", "mild", None), "line 2: split of a.mha is ''"),
        (["A_.mha,1,1,Mild"], ("test", "", None), "line 2: 'A_.mha' may be a.mha and a_.MHA"),
        (["b.mha,1,1,Mild"], ("test", "", None), "line 2: 'b.mha' is no scan of the dataset"),
    ],
)
def test_what_a_table_of_splits_leaves_open_is_a_problem_and_no_guess(
    tmp_path: Path, rows: list[str], wanted: tuple[str, str, int | None], sentence: str
) -> None:
    touch(tmp_path, "a.mha", "a_.MHA", "other.mha")
    built = build(tmp_path, *rows, "other.mha,1,0,")
    assert any(sentence in problem for problem in built.problems), built.problems
    assert rows_of(built)["a.mha"] == wanted


@pytest.mark.parametrize(
    ("path", "scan"),
    [
        *(("scans/a", "scans/a.nii.gz"), ("/x/data/scans/a", "scans/a.nii.gz"), ("/elsewhere/scans/B", "scans/b.mha")),
        *(
            ("scans/ct_scan1", "scans/ct_scan_1.mha"),
            ("scans/a.nii", "scans/a.nii.gz"),
            ("scans/v1.2", "scans/v1.2.mha"),
        ),
    ],
)
def test_a_path_may_lack_the_suffix_of_its_file(tmp_path: Path, path: str, scan: str) -> None:
    touch(tmp_path, "scans/a.nii.gz", "scans/b.mha", "scans/ct_scan_1.mha", "scans/v1.2.mha")
    built = build(tmp_path, f"{path},2,1,mild")
    assert rows_of(built)[scan] == ("train", "mild", 2)
    assert built.problems == []


def test_a_path_without_its_suffix_that_may_be_two_files_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "a.mha", "other.mha")
    built = build(tmp_path, "a,2,1,mild", "a.mha,1,0,", "other,1,0,")
    assert "splits.csv line 2: 'a' may be a.mha and a.nii.gz" in built.problems
    found = rows_of(built)
    assert (found["a.mha"], found["a.nii.gz"]) == (("train", "non-covid", 1), ("test", "", None))


def test_a_label_that_is_not_known_names_those_that_are(tmp_path: Path) -> None:
    touch(tmp_path, "a.mha", "b.mha")
    built = build(tmp_path, "a.mha,1,,light", "b.mha,1,maybe,")
    assert built.problems == [
        "splits.csv line 2: category of a.mha is 'light': no label. It may be non-covid, mild, moderate, severe, "
        "critical, covid-not-severe, covid-severe, covid, a number from 0 (non-covid) to 5 (covid), or empty",
        "splits.csv line 3: has_covid of b.mha is 'maybe': no label. It may be 0 or 1, or true or false",
    ]


def test_scans_of_a_labelled_dataset_without_a_row_are_in_no_fold(tmp_path: Path) -> None:
    built = small(tmp_path, "train/covid/ct_scan0,1,1,mild")
    assert "7 scans are not in splits.csv and so in no fold: the first is train/covid/ct_scan2" in built.problems
    assert built.table["fold"].notna().sum() == 1


def test_a_table_that_names_no_scan_or_has_labels_of_two_datasets_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train": {"mild": 2, "non-covid": 1}})
    with pytest.raises(DatasetError, match=r"none of the rows of .*splits\.csv names a scan"):
        build(tmp_path, "x,1,1,mild")
    with pytest.raises(DatasetError, match=r"splits\.csv: the labels covid-severe, mild do not belong to one dataset"):
        build(tmp_path, "train/covid/ct_scan0,1,1,covid-severe")
    with pytest.raises(DatasetError, match="category missing"):
        build(tmp_path, "x,1,1", header="path,split,has_covid")
    with pytest.raises(DatasetError, match="there is no file"):
        scan_table.build(tmp_path, seed=0, splits=tmp_path / "nowhere.csv")
