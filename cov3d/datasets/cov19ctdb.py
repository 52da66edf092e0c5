"""COV19-CT-DB in its layouts of 2022 and 2023 → scans with labels.

`{train,validation}/{covid,non-covid}/<scan>/<n>.jpg`, severities in two files at the root (Excel in 2023, CSV with
semicolons in 2022), and a test set without labels in `task1/subset*/<scan>` and `task2/<set>/<scan>` (or anywhere
below `test/`).
"""

import re
from collections import defaultdict
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd
from openpyxl.utils.exceptions import InvalidFileException

from cov3d.datasets.found import TRAIN, UNLABELLED, VALIDATION, Found, scans_below
from cov3d.datasets.rows import read_rows
from cov3d.errors import DatasetError
from cov3d.labels import NON_COVID, SEVERITIES, UNKNOWN_SEVERITY

NAME = "COV19-CT-DB"
PARTITIONS = (TRAIN, VALIDATION)
SEVERITY_FILES = {partition: f"ICASSP_severity_{partition}_partition.xlsx" for partition in PARTITIONS}
SEVERITY_FILES_2022 = {
    TRAIN: "train_partition_covid_categories.csv",
    VALIDATION: "val_partition_covid_categories.csv",
}
# What pandas, openpyxl, zipfile and the XML parser raise on a file that is no Excel file.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, SyntaxError, ImportError),
    *(BadZipFile, InvalidFileException),
)
_TEST_FOLDERS = ("task1", "task2", "test")


def is_cov19ctdb(root: Path) -> bool:
    """Whether `root` has a folder of COV19-CT-DB's layouts."""
    return any((root / partition / label).is_dir() for partition in PARTITIONS for label in ("covid", NON_COVID))


def find(root: Path) -> Found:
    """Every scan under `root` with its partition and label (empty for the test set).

    Rows of the severity files that name no folder, hold no grade from 1 to 4, or contradict each other are each
    reported in `problems`; the scan keeps the label `covid`.

    Raises:
        DatasetError: a severity file can't be read as one, or both years' are there.
        ScanError: a folder can't be listed.
    """
    found = Found()
    for partition in PARTITIONS:
        positive = scans_below(root / partition / "covid", root, found)
        negative = scans_below(root / partition / NON_COVID, root, found)
        grades = _grades(root, partition, positive, found.problems)
        found.scans |= {scan: (partition, grades.get(scan, UNKNOWN_SEVERITY)) for scan in positive}
        found.scans |= dict.fromkeys(negative, (partition, NON_COVID))
    for folder in _TEST_FOLDERS:
        found.scans |= dict.fromkeys(scans_below(root / folder, root, found), UNLABELLED)
    return found


def _grades(root: Path, partition: str, scans: list[str], problems: list[str]) -> dict[str, str]:
    """The severity of each scan that the partition's file grades without contradiction."""
    file = _severity_file(root, partition)
    if file is None:
        if scans:
            problems.append(
                f"{SEVERITY_FILES[partition]} is missing (or, of 2022, {SEVERITY_FILES_2022[partition]}): "
                f"the COVID scans of {partition} have no severity"
            )
        return {}
    names = _Names(scans)
    grades = defaultdict(set)
    for row, name, value in _rows(file):
        scan = names.find(name)
        grade = _grade(value)
        if scan is None:
            problems.append(f"{file.name} row {row}: {name!r} is no folder under {partition}/covid")
        elif grade is None:
            problems.append(f"{file.name} row {row}: {name!r} has category {value!r}, not 1 to {len(SEVERITIES)}")
        else:
            grades[scan].add(grade)
    for scan in sorted(scan for scan, found in grades.items() if len(found) > 1):
        problems.append(f"{file.name}: rows for {scan} contradict each other ({', '.join(sorted(grades[scan]))})")
    return {scan: found.pop() for scan, found in grades.items() if len(found) == 1}


def _severity_file(root: Path, partition: str) -> Path | None:
    files = [root / names[partition] for names in (SEVERITY_FILES, SEVERITY_FILES_2022)]
    present = [file for file in files if file.exists()]
    if len(present) > 1:
        raise DatasetError(
            f"{root} holds {present[0].name} and {present[1].name}, of two years, and scans may be numbered anew "
            "between them: take away the one that is not of these scans"
        )
    return present[0] if present else None


def _rows(file: Path) -> list[tuple[int, str, object]]:
    """(row in the file, name, category) of every row with anything in it."""
    if file.suffix == ".csv":
        return [(line, values["Name"], values["Category"]) for line, values in read_rows(file, ("Name", "Category"))]
    return _excel_rows(file)


def _excel_rows(file: Path) -> list[tuple[int, str, object]]:
    try:
        sheet = pd.read_excel(file, dtype=object, engine="openpyxl")
    except _UNREADABLE as error:
        raise DatasetError(f"{file} can't be read as an Excel file: {error}") from error
    columns = {str(column).strip().lower(): column for column in sheet.columns}
    if not {"name", "category"} <= columns.keys():
        raise DatasetError(f"{file} must have the columns Name and Category, not {', '.join(map(str, sheet.columns))}")
    pairs = zip(sheet[columns["name"]], sheet[columns["category"]], strict=True)
    return [
        (row, str(name).strip(), category)
        for row, (name, category) in enumerate(pairs, start=2)
        if not (pd.isna(name) and pd.isna(category))
    ]


def _grade(value: object) -> str | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return SEVERITIES[int(number) - 1] if number in range(1, len(SEVERITIES) + 1) else None


class _Names:
    """Scans by folder name: as written, else by number, since files and folders differ in one underscore."""

    def __init__(self, scans: list[str]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._loose: dict[str, list[str]] = defaultdict(list)
        for scan in scans:
            name = scan.rpartition("/")[2]
            self._exact[name].append(scan)
            self._loose[self._key(name)].append(scan)

    def find(self, name: str) -> str | None:
        """The one scan of this name, or None where there is none or it is not clear which."""
        candidates = self._exact.get(name) or self._loose.get(self._key(name), [])
        return candidates[0] if len(candidates) == 1 else None

    @staticmethod
    def _key(name: str) -> str:
        return re.sub(r"[\s_]+", "", name).lower()
