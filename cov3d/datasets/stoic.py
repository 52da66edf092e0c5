"""STOIC2021 (the public part) → scans with labels.

`data/mha/<PatientID>.mha`, and `metadata/reference.csv` with a row a patient: `PatientID,probCOVID,probSevere`, each 0
or 1. There are no partitions. An unclear row is reported, and gives no label.
"""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from cov3d.datasets.folders import path_in_any_case
from cov3d.datasets.found import TRAIN, UNLABELLED, Found, in_words, scans_below, stem
from cov3d.datasets.rows import Row, read_rows
from cov3d.labels import NON_COVID, STOIC_SEVERITIES, UNKNOWN_SEVERITY

NAME = "STOIC2021"
SCANS = Path("data", "mha")
REFERENCE = Path("metadata", "reference.csv")
COLUMNS = ("PatientID", "probCOVID", "probSevere")


def is_stoic(root: Path) -> bool:
    """Whether `root` has the folder or the reference of STOIC2021."""
    return path_in_any_case(root, *SCANS.parts).is_dir() or path_in_any_case(root, *REFERENCE.parts).is_file()


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its label.

    Rows without a file, files without a row, values that are neither 0 nor 1, inconsistent rows, rows that
    disagree and repeated rows are each reported in `problems`. A scan whose presence is not clear from its
    rows has no label; a positive one whose severity is not clear has the label `covid`.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        DatasetError: the reference can't be read.
        ScanError: a folder can't be listed.
    """
    found = Found()
    files = defaultdict(list)
    for scan in scans_below(path_in_any_case(root, *SCANS.parts), root, found, known):
        files[stem(scan)].append(scan)
    reference = path_in_any_case(root, *REFERENCE.parts)
    rows = _rows_by_patient(reference, found.problems)
    if not reference.exists():
        found.without_file |= {scan for scans in files.values() for scan in scans}
    if rows and files and not rows.keys() & files.keys():
        found.problems.append(
            f"none of the {len(rows)} patients of {REFERENCE} has a file in {SCANS}: no scan has a label"
        )
        found.scans |= {scan: UNLABELLED for scans in files.values() for scan in scans}
        return found
    for patient, given in rows.items():
        if patient not in files:
            found.problems.append(f"{_lines(given)}: patient {patient} has no file in {SCANS.as_posix()}")
    for patient, scans in files.items():
        label = _label(patient, rows[patient], found.problems) if patient in rows else ""
        if len(scans) > 1:
            found.problems.append(f"{in_words(scans)} are of one patient: they are left without a label")
            label = ""
        if rows and patient not in rows:
            found.problems.append(f"{scans[0]} has no row in {REFERENCE.as_posix()}: it is left without a label")
        found.scans |= dict.fromkeys(scans, (TRAIN, label) if label else UNLABELLED)
    return found


def _rows_by_patient(file: Path, problems: list[str]) -> dict[str, list[Row]]:
    if not file.exists():
        problems.append(f"{REFERENCE.as_posix()} is missing: the scans have no label")
        return {}
    rows = defaultdict(list)
    for row in read_rows(file, COLUMNS):
        rows[row.values["PatientID"]].append(row)
    if not rows:
        problems.append(f"{REFERENCE.as_posix()} has a header and no rows: the scans have no label")
    return rows


def _lines(rows: list[Row]) -> str:
    numbers = in_words(str(row.line) for row in rows)
    return f"{REFERENCE.name} line{'s' * (len(rows) > 1)} {numbers}"


def _label(patient: str, rows: list[Row], problems: list[str]) -> str:
    """The label from all rows of a patient; empty if the presence is unclear."""
    labels = {_label_of(row, problems) for row in rows}
    if len(rows) > 1:
        same = "are equal" if len(labels) == 1 else f"disagree ({in_words(sorted(map(_word, labels)))})"
        problems.append(f"{_lines(rows)}: the rows of patient {patient} {same}")
    if len(labels) == 1:
        return labels.pop()
    return UNKNOWN_SEVERITY if labels <= {UNKNOWN_SEVERITY, *STOIC_SEVERITIES} else ""


def _word(label: str) -> str:
    return label or "unclear"


def _label_of(row: Row, problems: list[str]) -> str:
    covid, severe = (_zero_or_one(row, column, problems) for column in COLUMNS[1:])
    if covid == 0 and severe == 1:
        problems.append(f"{_lines([row])}: patient {row.values['PatientID']} is severe but not positive: no label")
        return ""
    if covid == 0:
        return NON_COVID
    if covid == 1:
        return UNKNOWN_SEVERITY if severe is None else STOIC_SEVERITIES[severe]
    return ""


def _zero_or_one(row: Row, column: str, problems: list[str]) -> int | None:
    value = row.values[column]
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if number in (0, 1):
        return int(number)
    problems.append(f"{_lines([row])}: {column} of patient {row.values['PatientID']} is {value!r}, not 0 or 1")
    return None
