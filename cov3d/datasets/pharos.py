"""The datasets of the PHAROS challenges of 2025 and 2026 → scans with labels and centres.

Class folders `covid1`, `covid2`, `non-covid1`, … of scans `ct_scan_<n>/<n>.jpg`, slices from 0, lie anywhere under the
root: as the archives were unpacked. They are of the training partition, or of the one that a folder above them names
(`Validation/val/covid`). A folder of a test set (`1st_challenge_test_set/test`) holds scans without labels. The centres
are in `{train,validation}_{covid,non_covid}.csv`.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.datasets.centre_file import COLUMNS, read_centres
from cov3d.datasets.folders import is_searched, leave_out, plain, subfolders
from cov3d.datasets.found import TRAIN, UNLABELLED, VALIDATION, Found, in_words, scans_below
from cov3d.datasets.severities import severity_files
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

NAME = "PHAROS 2025/2026"
_CLASS = re.compile(r"(non)?covid(?:19)?([0-9]{1,2})?")
_PARTITIONS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid"), VALIDATION),
}
_TABLE = re.compile(rf"({'|'.join(_PARTITIONS)})(non)?covid(?:19)?")
_SCAN = re.compile(r"ct[\s_-]*scan[\s_-]*[0-9]+", re.IGNORECASE)
_DEPTH, _MOST = 3, 64
"""Depth to which folders are searched, and the number of folders beside each other above which they are scans."""

_Key = tuple[str, str]
"""Partition and label."""


@dataclass
class _Places:
    """Where things are under a root.

    Attributes:
        classes: the folders of scans, by partition and label.
        tests: folders of scans without labels.
        tables: the tables of centres, by partition and label.
        others: folders that are none of these and hold none.
        is_numbered: whether a class folder has a number.
        is_nested: whether a class folder lies in two folders of its partition's name, as in `Validation/val`.
    """

    classes: dict[_Key, list[Path]] = field(default_factory=lambda: defaultdict(list))
    tests: list[Path] = field(default_factory=list)
    tables: dict[_Key, list[Path]] = field(default_factory=lambda: defaultdict(list))
    others: list[Path] = field(default_factory=list)
    is_numbered: bool = False
    is_nested: bool = False


def is_pharos(root: Path) -> bool:
    """Whether `root` has what only PHAROS's datasets have: numbered class folders, `Validation/val`, or the tables.

    With COV19-CT-DB's files of severities it is that dataset.
    """
    if severity_files(root):
        return False
    places = _look(root)
    return bool(places.classes) and (places.is_numbered or places.is_nested or bool(places.tables))


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its partition, label (empty for the test set) and centre.

    What gives a scan no centre without doubt is reported in `problems`, and the scan has none; so are rows of scans
    that are not there, and folders that are left out.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        DatasetError: a table of centres can't be read.
        ScanError: a folder can't be listed, or its name can't be written.
    """
    found = Found()
    places = _look(root)
    for key, folders in sorted(places.classes.items()):
        cases: dict[str, list[str]] = defaultdict(list)
        for folder in folders:
            for scan in scans_below(folder, root, found, known):
                found.scans[scan] = key
                cases[_case_of(scan, folder.relative_to(root).as_posix())].append(scan)
        found.patients |= {scan: case for case, scans in cases.items() if len(scans) > 1 for scan in scans}
        _add_centres(places, key, cases, found)
    for folder in places.tests:
        found.scans |= dict.fromkeys(scans_below(folder, root, found, known), UNLABELLED)
    _report_tables(places, found)
    leave_out(places.others, root, "is in no folder covid or non-covid", found, known)
    return found


def _case_of(scan: str, folder: str) -> str:
    """The folder `ct_scan_<n>` that a scan is or lies in: several series may lie in one, of one patient."""
    parts = scan.removeprefix(folder).strip("/").split("/")
    length = next((place for place, part in enumerate(parts, start=1) if _SCAN.fullmatch(part)), len(parts))
    return "/".join((folder, *parts[:length])).rstrip("/")


def _add_centres(places: _Places, key: _Key, cases: dict[str, list[str]], found: Found) -> None:
    files = places.tables.get(key, [])
    if len(files) > 1:
        found.problems.append(f"{in_words(map(str, files))} are tables of the same scans: the first is read")
    if files and cases:
        names = {case: [case.rpartition("/")[2]] for case in cases}
        centres = read_centres(files[0], names, f"the {key[0]} {key[1]} scans", found.problems)
        found.centres |= {scan: centre for case, centre in centres.items() for scan in cases[case]}


def _report_tables(places: _Places, found: Found) -> None:
    """Report class folders without a table of centres, and tables without a class folder."""
    if missing := [key for key in sorted(places.classes) if key not in places.tables]:
        files = in_words(f"{partition}_{label.replace('-', '_')}.csv" for partition, label in missing)
        verb = "are" if len(missing) > 1 else "is"
        found.problems.append(f"{files} ({','.join(COLUMNS)}) {verb} missing: the centres of these scans are not known")
    for key, tables in sorted(places.tables.items()):
        if key not in places.classes:
            found.problems.append(f"{tables[0].name} is there, but no folder of {key[0]} {key[1]} scans")


def _look(root: Path) -> _Places:
    places = _Places()
    _look_into(root, TRAIN, (), places)
    return places


def _look_into(folder: Path, partition: str, above: tuple[str, ...], places: _Places) -> bool:
    """Add what is in a folder, and in the folders in it; whether anything was found.

    Args:
        partition: of class folders in it.
        above: the names of the folders from the root to this one, as `plain` gives them.
    """
    before = len(places.tests) + sum(map(len, places.classes.values()))
    others = []
    names = subfolders(folder)
    for name in names:
        inside = plain(name)
        if match := _CLASS.fullmatch(inside):
            places.classes[partition, NON_COVID if match[1] else UNKNOWN_SEVERITY].append(folder / name)
            places.is_numbered |= match[2] is not None
            places.is_nested |= _PARTITIONS.keys() >= set(above[-2:]) and len(above) > 1
        elif _is_test(name):
            places.tests.append(folder / name)
        elif is_searched(name) and (
            len(above) >= _DEPTH
            or len(names) > _MOST
            or not _look_into(folder / name, _PARTITIONS.get(inside, partition), (*above, inside), places)
        ):
            others.append(folder / name)
    is_found = len(places.tests) + sum(map(len, places.classes.values())) > before
    if is_found or not above:
        places.others += others
    for file in sorted(folder.glob("*.csv")):
        if match := _TABLE.fullmatch(plain(file.stem)):
            label = NON_COVID if match[2] else UNKNOWN_SEVERITY
            places.tables[_PARTITIONS[match[1]], label].append(file)
    return is_found


def _is_test(name: str) -> bool:
    """Whether a folder is of a test set by its name: `test`, `1st_challenge_test_set`, COV19-CT-DB's `task1`."""
    words = re.split(r"[\s_-]+", name.casefold())
    return bool({"test", "testing", "testset"} & set(words)) or re.fullmatch(r"task[12]", plain(name)) is not None
