"""Datasets of patients with several scans: CC-CCII, COVID-CT-MD, and folds that split no patient."""

from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest

from cov3d.datasets import scan_table
from cov3d.datasets.folds import assign_folds
from cov3d.datasets.stale import stale_sentence
from cov3d.errors import DatasetError
from cov3d.phantom.dicom import write_series
from tests.app.conftest import Command
from tests.datasets.test_folds import labels_of
from tests.datasets.test_pharos import scan

PATIENTS = {"NCP": 929, "CP": 964, "Normal": 849}
SCANS = {"NCP": 1544, "CP": 1556, "Normal": 1078}
MOST = 11


def counts_of(patients: int, scans: int, random: Random) -> list[int]:
    """Scans of each patient: from 1 to 11, `scans` in all."""
    counts = [1] * patients
    counts[0] = MOST
    while sum(counts) < scans:
        chosen = random.randrange(patients)
        counts[chosen] += counts[chosen] < MOST
    return counts


def ccccii(root: Path, patients: dict[str, int], scans: dict[str, int], *, slices: tuple[str, ...]) -> None:
    random, patient, number = Random(0), 0, 0
    for folder in patients:
        for count in counts_of(patients[folder], scans[folder], random):
            patient += 1
            for _ in range(count):
                number += 1
                scan(root, f"{folder}/{patient}/{number}", slices=slices)


def splits_no_patient(table: pd.DataFrame) -> bool:
    return bool((table.groupby("patient")["fold"].nunique() == 1).all())


def test_cc_ccii_at_its_full_size_is_split_by_patient(tmp_path: Path) -> None:
    ccccii(tmp_path, PATIENTS, SCANS, slices=("0000.jpg", "0001.jpg"))
    built = scan_table.build(tmp_path, seed=0)
    table = built.table
    assert (built.layout, built.problems, built.left_out) == ("CC-CCII", [], [])
    assert table.columns.tolist() == ["scan", "partition", "label", "fold", "patient"]
    assert Counter(table["label"]) == {"covid": SCANS["NCP"], "non-covid": SCANS["CP"] + SCANS["Normal"]}
    assert (table["patient"] == table["scan"].str.split("/").str[1]).all()
    assert table["patient"].nunique() == sum(PATIENTS.values())
    assert table.groupby("patient").size().max() == MOST
    assert splits_no_patient(table)
    for label in ("covid", "non-covid"):
        in_folds = Counter(table.loc[table["label"] == label, "fold"])
        assert sorted(in_folds) == list(range(5))
        assert max(in_folds.values()) - min(in_folds.values()) <= 1


def test_the_classes_and_patients_of_cc_ccii(tmp_path: Path) -> None:
    scan(tmp_path, "NCP-1/NCP/12/1200", "NCP-27/12/1201", "ncp/13", "CP/7/1", "Normal/8/1/inner")
    scan(tmp_path, "CP/7/2", slices=tuple(f"{number:04d}.png" for number in range(4)))
    scan(tmp_path, "Lesions/12/1")
    built = scan_table.build(tmp_path, seed=0)
    assert labels_of(built) == {
        **{"CP/7/1": "non-covid", "CP/7/2": "non-covid", "NCP-1/NCP/12/1200": "covid", "NCP-27/12/1201": "covid"},
        **{"Normal/8/1/inner": "non-covid", "ncp/13": "covid"},
    }
    assert built.table["patient"].tolist() == ["7", "7", "12", "12", "8", "13"]
    assert splits_no_patient(built.table)
    assert [problem for problem in built.problems if "folds drawn" not in problem] == [
        "Lesions is none of NCP, CP and Normal: its scan is left out"
    ]


def test_a_patient_of_two_classes_is_reported_and_stays_in_one_fold(tmp_path: Path) -> None:
    scan(tmp_path, *(f"{folder}/{patient}/{folder}{patient}" for folder in ("NCP", "CP") for patient in range(10)))
    scan(tmp_path, "Normal/77/1")
    built = scan_table.build(tmp_path, seed=0)
    assert splits_no_patient(built.table)
    assert (
        "10 patients have scans in several classes (CP/0 and NCP/0; CP/1 and NCP/1; CP/2 and NCP/2; …): all scans of a "
        "patient are put into one fold" in built.problems
    )


@pytest.mark.parametrize("cases", ["Cases", "subjects", "_Subjects"])
def test_the_folders_of_covid_ct_md_are_its_patients(tmp_path: Path, cases: str) -> None:
    names = {f"COVID-19 {cases}": "covid", f"Cap {cases}": "non-covid", f"Normal {cases}": "non-covid"}
    expected = {}
    for folder, label in names.items():
        for number in range(1, 7):
            name = f"{folder}/{folder[:3].lower()}{number:03d}"
            (tmp_path / name).mkdir(parents=True)
            write_series(tmp_path / name, np.zeros((number + 8, 16, 16), np.int16), (2.0, 1.0, 1.0), "made for a test")
            expected[name] = label
    (tmp_path / "Clinical-data.csv").write_text("id\n")
    built = scan_table.build(tmp_path, seed=0)
    assert (built.layout, labels_of(built), built.left_out) == ("COVID-CT-MD", expected, [])
    assert built.table["patient"].tolist() == [name.rpartition("/")[2] for name in built.table["scan"]]
    assert built.problems == []


def test_the_layout_of_a_dataset_of_patients_is_known_again_and_new_scans_are_seen(tmp_path: Path) -> None:
    scan(tmp_path, *(f"NCP/{patient}/{number}" for patient in range(6) for number in range(2)), "CP/9/1", "Normal/8/1")
    scan(tmp_path, "CP/9/2", slices=tuple(f"{number}.png" for number in range(3)))
    built = scan_table.build(tmp_path, seed=0)
    file = tmp_path / "scans.csv"
    scan_table.save(built.table, file, built.origin)
    loaded = scan_table.load(file)
    pd.testing.assert_frame_equal(loaded, built.table)
    assert stale_sentence(tmp_path, file, loaded) is None
    scan(tmp_path, "NCP/3/9")
    assert "1 scan new (NCP/3/9)" in (stale_sentence(tmp_path, file, loaded) or "")


def person(random: Random, number: int, labels: str) -> dict[str, str]:
    """Scans of a patient, of one label."""
    label = random.choice(labels)
    return {f"{number}/{scan}": label for scan in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8)))}


def people(random: Random, count: int, labels: str = "aaab") -> dict[str, str]:
    return {scan: label for number in range(count) for scan, label in person(random, number, labels).items()}


def patients_of(labels: dict[str, str]) -> dict[str, str]:
    return {name: name.partition("/")[0] for name in labels}


@pytest.mark.parametrize("change", ["scan", "patient", "label", "none left"])
def test_one_change_moves_few_scans_of_other_patients(change: str) -> None:
    counts = []
    for trial in range(40):
        random = Random(trial)
        labels = people(random, 200)
        before = assign_folds(labels, range(1, 5), trial, patients_of(labels))
        chosen = random.choice(list(labels))
        if change == "scan":
            labels[f"{chosen}-again"] = labels[chosen]
        elif change == "patient":
            labels |= person(random, 999, "ab")
        elif change == "label":
            labels |= {scan: "b" for scan in labels if scan.partition("/")[0] == chosen.partition("/")[0]}
        else:
            labels = {
                scan: label for scan, label in labels.items() if scan.partition("/")[0] != chosen.partition("/")[0]
            }
        after = assign_folds(labels, range(1, 5), trial, patients_of(labels))
        counts.append(sum(before[scan] != after[scan] for scan in before.keys() & after.keys()))
    assert sum(counts) / len(counts) <= 12  # of about 570; a fresh split into four would move 430
    assert max(counts) <= 40


@pytest.mark.parametrize("is_mixed", [False, True])
def test_folds_split_no_patient_and_are_as_even_as_patients_allow(is_mixed: bool) -> None:
    for trial in range(40):
        random = Random(trial)
        labels = people(random, random.randrange(1, 120), "abc")
        if is_mixed:
            labels = {scan: random.choice("abc") for scan in labels}
        patients = patients_of(labels)
        folds = assign_folds(labels, range(5), trial, patients)
        assert folds.keys() == labels.keys()
        of_patient = defaultdict(set)
        for name, fold in folds.items():
            of_patient[patients[name]].add(fold)
        assert all(len(found) == 1 for found in of_patient.values())
        for label in set(labels.values()):
            counts = Counter(folds[scan] for scan in labels if labels[scan] == label)
            every = [counts[fold] for fold in range(5)]
            largest = max(Counter(patients[scan] for scan in labels if labels[scan] == label).values())
            assert max(every) - min(every) <= largest + is_mixed
        shuffled = random.sample(sorted(labels), len(labels))
        assert assign_folds({scan: labels[scan] for scan in shuffled}, range(5), trial, patients) == folds


def test_single_scans_are_split_as_without_patients_and_level_what_patients_leave_uneven() -> None:
    labels = {f"s{number}": "a" for number in range(40)}
    assert assign_folds(labels, range(4), 0, {"other": "p"}) == assign_folds(labels, range(4), 0)
    labels |= {f"p/{number}": "a" for number in range(7)} | {f"q/{number}": "a" for number in range(6)}
    folds = assign_folds(labels, range(4), 0, {scan: scan[0] for scan in labels if "/" in scan})
    assert sorted(Counter(folds.values()).values()) == [13, 13, 13, 14]


def test_a_label_of_few_patients_is_reported_with_the_folds_that_have_none(tmp_path: Path) -> None:
    scan(tmp_path, *(f"CP/{patient}/1" for patient in range(10)), *(f"NCP/{20 + n % 2}/{n}" for n in range(8)))
    built = scan_table.build(tmp_path, seed=0)
    assert built.problems == [
        "the 8 training scans that are covid are of few patients: 3 of the 5 folds drawn have none"
    ]


HEADER = "scan,partition,label,fold,patient,centre"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["a,train,mild,1,p,", "b,train,mild,2,p,"], r"patient p is in the folds 1 \(line 2\) and 2 \(line 3\)"),
        (["a,validation,mild,0,p,x", "c,train,mild,1,,", "b,train,mild,2, p ,"], "patient p is in the folds 0 .line 2"),
    ],
)
def test_a_table_that_splits_a_patient_is_refused(tmp_path: Path, rows: list[str], sentence: str) -> None:
    file = tmp_path / "scans.csv"
    file.write_text("\n".join((HEADER, *rows, "")))
    with pytest.raises(DatasetError, match=sentence):
        scan_table.load(file)


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        "scan,partition,label,fold,centre",
        "scan,partition,label,fold,patient",
        "centre,scan,partition,label,fold",
    ],
)
def test_patient_and_centre_are_optional_columns_of_a_table(tmp_path: Path, header: str) -> None:
    values = {"scan": "a", "partition": "train", "label": "mild", "fold": "1", "patient": "007", "centre": "02"}
    file = tmp_path / "scans.csv"
    file.write_text(f"{header}\n{','.join(values[column] for column in header.split(','))}\n")
    (row,) = scan_table.load(file).to_dict("records")
    assert {column: str(value) for column, value in row.items()} == {
        column: values[column] for column in header.split(",")
    }
    file.write_text(f"{header},hospital\n{'x,' * header.count(',')}x,x\n")
    with pytest.raises(DatasetError, match=r"and may have patient and centre; it has .*hospital"):
        scan_table.load(file)


def test_splits_of_others_that_split_a_patient_leave_its_scans_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    scan(root, *(f"NCP/{patient}/{number}" for patient in range(4) for number in range(2)), "CP/9/1", "CP/9/2")
    scan(root, "Normal/8/1")
    splits = tmp_path / "splits.csv"
    rows = ["NCP/0/0,1,,", "NCP/0/1,2,,", "NCP/1/0,3,,", "NCP/1/1,train,,", "NCP/2/0,validation,,", "NCP/2/1,train,,"]
    rows += ["NCP/3/0,train,,", "NCP/3/1,train,,", "CP/9/1,2,,", "CP/9/2,2,,", "Normal/8/1,1,,"]
    splits.write_text("\n".join(("path,split,has_covid,category", *rows, "")))
    built = scan_table.build(root, 0, splits)
    folds = {
        scan: None if pd.isna(fold) else int(fold)
        for scan, fold in zip(*(built.table[c] for c in ("scan", "fold")), strict=True)
    }
    drawn = folds.pop("NCP/3/0")
    assert drawn in (1, 2, 3, 4)
    assert folds == {
        **{"NCP/0/0": None, "NCP/0/1": None, "NCP/1/0": 3, "NCP/1/1": 3, "NCP/2/0": 0, "NCP/2/1": None},
        **{"NCP/3/1": drawn, "CP/9/1": 2, "CP/9/2": 2, "Normal/8/1": 1},
    }
    text = "\n".join(built.problems)
    assert "1 patient (0) would be in several folds: their scans are put into none" in text
    assert "1 patient (2) would be in fold 0 and among the scans for training" in text


def test_patients_and_centres_that_a_person_adds_are_kept_and_make_the_folds(tmp_path: Path, cov3d: Command) -> None:
    names = [f"train/{kind}/ct_scan_{number}" for kind in ("covid", "non-covid") for number in range(12)]
    scan(tmp_path, *names)
    file = tmp_path / "scans.csv"
    assert cov3d("folds", "--data", tmp_path).code == 0
    table = pd.read_csv(file, keep_default_na=False)
    people = {name: f"p{number // 3}" for number, name in enumerate(names) if number < 12}
    table["patient"] = [people.get(name, "") for name in table["scan"]]
    table["centre"] = "north"
    table.to_csv(file, index=False)
    ended = cov3d("preprocess", "--data", tmp_path, "--size", "tiny")
    assert (ended.code, ended.err.count("error: ")) == (2, 1)
    assert "put all scans of a patient into one fold, or make the table again with cov3d folds --overwrite" in ended.err

    scan(tmp_path, "train/covid/ct_scan_99")
    ended = cov3d("folds", "--data", tmp_path, "--overwrite")
    assert ended.code == 0, ended.err
    assert "scans moved to another fold" in ended.out
    made = scan_table.load(file)
    assert dict(zip(made["scan"], made["patient"], strict=True)) == {
        **dict.fromkeys((*names, "train/covid/ct_scan_99"), ""),
        **people,
    }
    assert set(made["centre"][made["scan"] != "train/covid/ct_scan_99"]) == {"north"}
    assert (made[made["patient"] != ""].groupby("patient")["fold"].nunique() == 1).all()
    others = Counter(made["fold"][made["label"] == "non-covid"])  # none of them has a patient
    assert (len(others), max(others.values()) - min(others.values())) == (5, 1)
    assert stale_sentence(tmp_path, file, made) is None
