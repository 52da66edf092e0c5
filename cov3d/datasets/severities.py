"""COV19-CT-DB's files of severities, of 2022 and 2023 → the severity of each scan that they give one without doubt."""

import re
import unicodedata
from collections import defaultdict
from pathlib import Path

from cov3d.datasets.found import TRAIN, VALIDATION, Found
from cov3d.datasets.label_file import LabelRow, Labels, read_labels
from cov3d.errors import DatasetError
from cov3d.labels import SEVERITIES

SEVERITY_FILES = {partition: f"ICASSP_severity_{partition}_partition.xlsx" for partition in (TRAIN, VALIDATION)}
SEVERITY_FILES_2022 = {
    TRAIN: "train_partition_covid_categories.csv",
    VALIDATION: "val_partition_covid_categories.csv",
}


def severities(root: Path, partition: str, scans: list[str], folders: str, found: Found) -> dict[str, str]:
    """The severity of each scan that the partition's file gives one, and no other one.

    Everything else is reported in `found`: a missing file, one without rows, rows without a name or a severity, names
    of no scan, and rows that disagree.

    Args:
        scans: the COVID scans of the partition.
        folders: where they are, in words.

    Raises:
        DatasetError: the file can't be read as one, or both years' are there.
    """
    file = _severity_file(root, partition)
    without = f"the COVID scans of {partition} have no severity"
    if file is None:
        found.without_file |= set(scans)
        if scans:
            files = f"{SEVERITY_FILES[partition]} is missing (or, of 2022, {SEVERITY_FILES_2022[partition]})"
            found.problems.append(f"{files}: {without}")
        return {}
    labels = read_labels(file, found.problems)
    if not labels.rows:
        found.problems.append(f"{labels.place} has a header and no rows: {without}")
        return {}
    names = _FolderNames(scans)
    if not any(names.candidates(row.name) for row in labels.rows):
        found.problems.append(
            f"none of the {len(labels.rows)} rows of {labels.place} names a folder under {folders} (the first is "
            f"{labels.rows[0].name!r}): {without}"
        )
        return {}
    return _agreed(labels, names, folders, found.problems)


def _agreed(labels: Labels, names: "_FolderNames", folders: str, problems: list[str]) -> dict[str, str]:
    given: dict[str, dict[int, str]] = defaultdict(dict)
    for row in labels.rows:
        scans, severity = names.candidates(row.name), _severity(row.category)
        if len(scans) == 1 and severity is not None:
            given[scans[0]][row.number] = severity
        else:
            problems.append(f"{labels.where(row.number)}: {_wrong(row, scans, folders)}")
    agreed = {}
    for scan, by_row in sorted(given.items()):
        if len(set(by_row.values())) == 1:
            agreed[scan] = next(iter(by_row.values()))
        else:
            words = ", ".join(sorted(set(by_row.values())))
            problems.append(f"{labels.where(*by_row)}: rows for {scan} disagree ({words})")
    return agreed


def _wrong(row: LabelRow, scans: list[str], folders: str) -> str:
    if not row.name:
        return f"category {row.category!r} has no name beside it"
    if not scans:
        return f"{row.name!r} is no folder under {folders}"
    if len(scans) > 1:
        return f"{row.name!r} is no folder's exact name, and may be {' or '.join(scans)}"
    if row.category is None:
        return f"{row.name!r} has no category"
    return f"{row.name!r} has category {row.category!r}, not 1 to {len(SEVERITIES)} or {', '.join(SEVERITIES)}"


def _severity(category: object) -> str | None:
    """The severity that a category means: a word, or a number, which may have a decimal point or comma."""
    plain = str(category).strip().casefold()
    if plain in SEVERITIES:
        return plain
    number = re.fullmatch(rf"([1-{len(SEVERITIES)}])([.,]0*)?", plain)
    return SEVERITIES[int(number[1]) - 1] if number else None


def severity_files(root: Path) -> list[Path]:
    """The files of severities in a dataset's folder, of either year."""
    names = (*SEVERITY_FILES.values(), *SEVERITY_FILES_2022.values())
    return [root / name for name in names if (root / name).exists()]


def _severity_file(root: Path, partition: str) -> Path | None:
    files = [root / names[partition] for names in (SEVERITY_FILES, SEVERITY_FILES_2022)]
    present = [file for file in files if file.exists()]
    if len(present) > 1:
        raise DatasetError(
            f"{root} holds {present[0].name} and {present[1].name}, of two years, whose scans may be numbered "
            "differently: remove the one that does not belong to these scans"
        )
    return present[0] if present else None


class _FolderNames:
    """Scans by folder name: as written, else by number, since files and folders differ in one underscore."""

    def __init__(self, scans: list[str]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._loose: dict[str, list[str]] = defaultdict(list)
        for scan in scans:
            name = scan.rpartition("/")[2]
            self._exact[name].append(scan)
            self._loose[self._key(name)].append(scan)

    def candidates(self, name: str) -> list[str]:
        """The scans that the name may mean."""
        return self._exact.get(name) or self._loose.get(self._key(name), [])

    @staticmethod
    def _key(name: str) -> str:
        return re.sub(r"[\s_]+", "", unicodedata.normalize("NFKC", name)).casefold()
