"""The scan tables of STOIC2021, MosMedData and COV19-CT-DB of 2022, and whose layout a folder has."""

from collections import Counter
from pathlib import Path

import pytest

from cov3d.datasets import scan_table
from cov3d.errors import DatasetError
from cov3d.labels import categories_of
from tests.datasets.test_folds import JPEG, SEVERITIES, labels_of, write_severities

HEADER = "PatientID,probCOVID,probSevere"


def touch(root: Path, *scans: str) -> None:
    """Files of these names; finding scans opens none."""
    for scan in scans:
        (root / scan).parent.mkdir(parents=True, exist_ok=True)
        (root / scan).touch()


def stoic(root: Path, patients: list[int], *rows: str, header: str = HEADER) -> scan_table.Built:
    touch(root, *(f"data/mha/{patient}.mha" for patient in patients))
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "reference.csv").write_text("\n".join((header, *rows)) + "\n")
    return scan_table.build(root, seed=0)


def test_stoic_at_its_full_size_is_split_evenly_to_five_folds(tmp_path: Path) -> None:
    counts = {"non-covid": 795, "covid-not-severe": 904, "covid-severe": 301}
    values = [v for v, n in zip(("0,0", "1,0", "1,1"), counts.values(), strict=True) for _ in range(n)]
    built = stoic(tmp_path, list(range(2000)), *(f"{patient},{value}" for patient, value in enumerate(values)))
    assert (built.problems, built.layout) == ([], "STOIC2021")
    table = built.table
    assert Counter(table["label"]) == counts
    assert set(table["partition"]) == {"train"}
    assert categories_of(table["label"]) == ("non-covid", "covid-not-severe", "covid-severe")
    for label in counts:
        in_folds = Counter(table.loc[table["label"] == label, "fold"])
        assert len(in_folds) == 5
        assert max(in_folds.values()) - min(in_folds.values()) <= 1


def test_stoic_columns_are_found_by_name_and_values_may_have_a_decimal(tmp_path: Path) -> None:
    built = stoic(tmp_path, [1, 2], "1.0,x, 2 ,1", "0.0,y,1,0", header="\ufeffprobsevere,age,patientid,ProbCOVID")
    labels = labels_of(built)
    assert labels == {"data/mha/1.mha": "non-covid", "data/mha/2.mha": "covid-severe"}
    assert not [problem for problem in built.problems if "folds drawn" not in problem]


@pytest.mark.parametrize(
    ("rows", "label", "sentence"),
    [
        (["7,0,1"], "", "line 2: patient 7 is severe but not positive"),
        (["7,2,0"], "", "line 2: probCOVID of patient 7 is '2', not 0 or 1"),
        (["7,,0"], "", "line 2: probCOVID of patient 7 is '', not 0 or 1"),
        (["7,1,yes"], "covid", "line 2: probSevere of patient 7 is 'yes', not 0 or 1"),
        (["7,1,"], "covid", "line 2: probSevere of patient 7 is ''"),
        (["7,0"], "non-covid", "line 2: probSevere of patient 7 is ''"),
        (["7,1,0", "", "7,1,0"], "covid-not-severe", "lines 2 and 4: the rows of patient 7 are equal"),
        (["7,1,0", "7,1,1"], "covid", "lines 2 and 3: the rows of patient 7 disagree"),
        (["7,1,0", "7,0,0"], "", "disagree (covid-not-severe and non-covid)"),
        ([], "", "data/mha/7.mha has no row in metadata/reference.csv"),
        (["7,1,0", "8,0,0"], "covid-not-severe", "line 3: patient 8 has no file in data/mha"),
    ],
)
def test_what_a_stoic_row_does_not_say_is_a_problem_and_no_guess(
    tmp_path: Path, rows: list[str], label: str, sentence: str
) -> None:
    built = stoic(tmp_path, [7, 1], *rows, "1,0,0")
    assert any(sentence in problem for problem in built.problems), built.problems
    assert labels_of(built) == {"data/mha/1.mha": "non-covid", "data/mha/7.mha": label}
    (row,) = built.table[built.table["scan"] == "data/mha/7.mha"].to_dict("records")
    assert (row["partition"] == "train") == (label != "")


def test_stoic_without_its_reference_is_listed_without_labels_and_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "data/mha/1.mha", "data/mha/2.mha")
    built = scan_table.build(tmp_path, seed=0)
    assert built.problems == ["metadata/reference.csv is missing: the scans have no label"]
    assert labels_of(built) == {"data/mha/1.mha": "", "data/mha/2.mha": ""}


def test_two_files_of_one_stoic_patient_have_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "data/mha/1.nii.gz")
    built = stoic(tmp_path, [1, 2], "1,1,1", "2,0,0")
    assert "data/mha/1.mha and data/mha/1.nii.gz are of one patient: they are left without a label" in built.problems
    assert labels_of(built) == {"data/mha/1.mha": "", "data/mha/1.nii.gz": "", "data/mha/2.mha": "non-covid"}


def test_stoic_without_scans_says_where_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"laid out as STOIC2021 \(data/mha\)"):
        stoic(tmp_path, [], "1,0,0")


@pytest.mark.parametrize("text", ["", "a,b,c\n1,0,0\n", "PatientID,probCOVID\n1,0\n"])
def test_a_reference_of_other_columns_is_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "data/mha/1.mha")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "reference.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"reference\.csv must have the columns PatientID, probCOVID, probSevere"):
        scan_table.build(tmp_path, seed=0)
    (tmp_path / "metadata" / "reference.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="can't be read as a CSV file"):
        scan_table.build(tmp_path, seed=0)


def test_the_folders_of_mosmeddata_are_the_five_categories(tmp_path: Path) -> None:
    counts = {"CT-0": 254, "CT-1": 684, "CT-2": 125, "CT-3": 45, "CT-4": 2}
    number = 0
    for folder, count in counts.items():
        (tmp_path / "studies" / folder).mkdir(parents=True)
        for _ in range(count):
            number += 1
            (tmp_path / "studies" / folder / f"study_{number:04d}.nii.gz").touch()
    touch(tmp_path, "masks/study_0255_mask.nii.gz", "dataset_registry.xlsx")
    built = scan_table.build(tmp_path, seed=0)
    assert built.layout == "MosMedData"
    assert built.problems == ["only 2 training scans are critical: 3 of the 5 folds drawn have none"]
    assert Counter(built.table["label"]) == {
        **{"non-covid": 254, "mild": 684, "moderate": 125, "severe": 45},
        "critical": 2,
    }
    assert labels_of(built)["studies/CT-2/study_0939.nii.gz"] == "moderate"
    assert set(built.table["fold"]) == set(range(5))


def test_a_mosmed_study_in_two_grades_and_a_folder_that_is_none_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, *(f"studies/CT-{grade}/study_0001.nii.gz" for grade in (1, 3)), "studies/CT-0/study_0002.nii.gz")
    touch(tmp_path, "studies/CT-5/study_0003.nii.gz")
    built = scan_table.build(tmp_path, seed=0)
    text = "\n".join(built.problems)
    assert "studies/CT-1/study_0001.nii.gz and studies/CT-3/study_0001.nii.gz have one name" in text
    assert "studies/CT-5 is none of CT-0, CT-1, CT-2, CT-3, CT-4: left out" in text
    assert set(labels_of(built).values()) == {"", "non-covid"}
    assert len(built.table) == 3


def year_2022(root: Path, train: str, validation: str) -> scan_table.Built:
    for scan in (
        *("train/covid/ct_scan_1", "train/covid/ct_scan12", "train/covid/ct_scan_3", "train/non-covid/ct_scan_1"),
        *("validation/covid/ct_scan_1", "validation/non-covid/ct_scan_0"),
    ):
        (root / scan).mkdir(parents=True)
        for slice_name in ("1.jpg", "2.jpg"):
            (root / scan / slice_name).write_bytes(JPEG)
    (root / "train_partition_covid_categories.csv").write_text(train)
    (root / "val_partition_covid_categories.csv").write_text(validation)
    return scan_table.build(root, seed=0)


def test_the_severities_of_2022_are_read_whatever_form_their_names_have(tmp_path: Path) -> None:
    built = year_2022(tmp_path, "Name;Category\nct_scan1;2\nct_scan_12;4\n", "\ufeffName;Category\nct_scan_1;3")
    assert labels_of(built) == {
        **{"train/covid/ct_scan_1": "moderate", "train/covid/ct_scan12": "critical", "train/covid/ct_scan_3": "covid"},
        **{"train/non-covid/ct_scan_1": "non-covid", "validation/covid/ct_scan_1": "severe"},
        "validation/non-covid/ct_scan_0": "non-covid",
    }
    assert all("folds drawn" in problem for problem in built.problems)
    assert built.table.set_index("scan")["fold"]["validation/covid/ct_scan_1"] == 0


def test_rows_of_2022_that_name_no_folder_or_no_grade_are_reported(tmp_path: Path) -> None:
    built = year_2022(tmp_path, "Name;Category\nct_scan_9;2\nct_scan_1;5\nct_scan_3;1\nct_scan3;2\n", "Name,Category\n")
    text = "\n".join(built.problems)
    assert "train_partition_covid_categories.csv row 2: 'ct_scan_9' is no folder under train/covid" in text
    assert "row 3: 'ct_scan_1' has category '5', not 1 to 4" in text
    assert "rows for train/covid/ct_scan_3 disagree (mild, moderate)" in text
    assert {labels_of(built)[f"train/covid/ct_scan{n}"] for n in ("_1", "12", "_3")} == {"covid"}


def test_severities_of_two_years_side_by_side_are_refused(tmp_path: Path) -> None:
    year_2022(tmp_path, "Name;Category\nct_scan_1;2\n", "Name;Category\n")
    write_severities(tmp_path, "train", [("ct_scan_1", 1)])
    with pytest.raises(DatasetError, match=r"holds ICASSP_.*\.xlsx and train_partition_covid_categories\.csv, of two"):
        scan_table.build(tmp_path, seed=0)


def test_a_folder_of_two_layouts_is_refused_by_their_names(tmp_path: Path) -> None:
    stoic(tmp_path, [1], "1,0,0")
    touch(tmp_path, "studies/CT-1/study_0001.nii.gz")
    with pytest.raises(DatasetError, match=r"fits the layouts of STOIC2021 \(data/mha\) and MosMedData \(studies/CT-0"):
        scan_table.build(tmp_path, seed=0)


@pytest.mark.parametrize(
    ("labels", "categories"),
    [
        (["non-covid", "covid", ""], ("non-covid", *SEVERITIES)),
        ([], ("non-covid", *SEVERITIES)),
        (["mild", "non-covid"], ("non-covid", *SEVERITIES)),
        (["covid", "covid-severe"], ("non-covid", "covid-not-severe", "covid-severe")),
    ],
)
def test_categories_follow_from_the_labels(labels: list[str], categories: tuple[str, ...]) -> None:
    assert categories_of(labels) == categories


@pytest.mark.parametrize("labels", [["mild", "covid-severe"], ["bad"]])
def test_labels_of_two_datasets_have_no_categories(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="do not belong to one dataset"):
        categories_of(labels)


def test_labels_that_are_of_no_dataset_are_answered_with_those_that_are() -> None:
    with pytest.raises(
        ValueError,
        match=r"the labels light do not belong to one dataset, which has non-covid, covid and either mild, moderate",
    ):
        categories_of(["light"])


def test_a_table_of_two_datasets_labels_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "scans.csv"
    rows = ["a,train,covid,1", "b,train,covid-severe,2", "c,train,non-covid,2", "d,train,mild,1"]
    file.write_text("\n".join(["scan,partition,label,fold", *rows, ""]))
    with pytest.raises(DatasetError, match=r"line 5: label is 'mild', but line 3 has 'covid-severe': .* one dataset"):
        scan_table.load(file)
    file.write_text("\n".join(["scan,partition,label,fold", *rows[:3], ""]))
    assert scan_table.load(file)["label"].tolist() == ["covid", "covid-severe", "non-covid"]
