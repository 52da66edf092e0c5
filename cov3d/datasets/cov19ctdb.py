"""COV19-CT-DB in its layouts of 2022 and 2023 → scans with labels.

`{train,validation}/{covid,non-covid}/<scan>/<n>.jpg`, severities in two files at the root (Excel in 2023, CSV with
semicolons in 2022), and a test set without labels in `task1/subset*/<scan>` and `task2/<set>/<scan>` (or anywhere
below `test/`). Folders are known by their names in whatever case, with hyphens, underscores or spaces.
"""

from collections.abc import Collection
from pathlib import Path

from cov3d.datasets.folders import merged, named, others
from cov3d.datasets.found import TEST, TRAIN, UNLABELLED, VALIDATION, Found, in_words, scans_below
from cov3d.datasets.pharos import is_pharos
from cov3d.datasets.severities import SEVERITY_FILES, severities
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

__all__ = ["NAME", "SEVERITY_FILES", "find", "is_cov19ctdb"]

NAME = "COV19-CT-DB"
_PARTITIONS = {TRAIN: ("train", "training"), VALIDATION: ("validation", "val", "valid")}
_CLASSES = {UNKNOWN_SEVERITY: ("covid", "covid19"), NON_COVID: ("noncovid", "noncovid19")}
_TESTS = {TEST: ("task1", "task2", "test")}


def is_cov19ctdb(root: Path) -> bool:
    """Whether `root` has a folder of COV19-CT-DB's layouts, and is not PHAROS's, which is of this dataset's kind."""
    inside = (named(folder, _CLASSES) for folders in named(root, _PARTITIONS).values() for folder in folders)
    return any(inside) and not is_pharos(root)


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its partition and label (empty for the test set).

    What gives a COVID scan no severity without doubt is reported in `problems` (see `severities`), and the scan has
    the label `covid`; so are folders that are left out, and two folders of one meaning.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        DatasetError: a severity file can't be read as one, or both years' are there.
        ScanError: a folder can't be listed.
    """
    found = Found()
    partitions = named(root, _PARTITIONS)
    for partition in _PARTITIONS:
        folders = partitions.get(partition, [])
        found.problems += merged(folders, root, partition)
        classes = _classes(folders, root, found.problems)
        positive, negative = (
            [scan for folder in classes[label] for scan in scans_below(folder, root, found, known)]
            for label in (UNKNOWN_SEVERITY, NON_COVID)
        )
        places = [folder.relative_to(root).as_posix() for folder in classes[UNKNOWN_SEVERITY]]
        severity_of = severities(root, partition, positive, in_words(places or [f"{partition}/covid"]), found)
        found.scans |= {scan: (partition, severity_of.get(scan, UNKNOWN_SEVERITY)) for scan in positive}
        found.scans |= dict.fromkeys(negative, (partition, NON_COVID))
    for folder in named(root, _TESTS).get(TEST, []):
        found.scans |= dict.fromkeys(scans_below(folder, root, found, known), UNLABELLED)
    for folder in others(root, {**_PARTITIONS, **_TESTS}):
        if named(folder, _CLASSES):
            found.problems.append(f"{folder.name} is none of train, validation and test: its scans are left out")
    return found


def _classes(folders: list[Path], root: Path, problems: list[str]) -> dict[str, list[Path]]:
    """The folders of each class in the folders of a partition."""
    classes: dict[str, list[Path]] = {label: [] for label in _CLASSES}
    for folder in folders:
        for label, inside in named(folder, _CLASSES).items():
            classes[label] += inside
        problems += [
            f"{other.relative_to(root).as_posix()} is neither covid nor non-covid: left out"
            for other in others(folder, _CLASSES)
        ]
    for label, inside in classes.items():
        problems += merged(inside, root, label)
    return classes
