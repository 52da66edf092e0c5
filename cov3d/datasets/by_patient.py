"""`<class>/<patient>/…` → scans with labels and patients: the shape that several datasets have.

The class gives the label, and the folder below it is the patient. There are no partitions.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cov3d.datasets.folders import is_searched, leave_out, plain, subfolders
from cov3d.datasets.found import TRAIN, Found, in_words, scans_below, stem

_NAMED = 3
"""Patients that a problem names."""


@dataclass(frozen=True)
class Shape:
    """Which folders a dataset has.

    Attributes:
        labels: the label of each class.
        pattern: of the name of a class folder, as `plain` gives it; its first group is the class.
        words: the classes, for the problems.
    """

    labels: Mapping[str, str]
    pattern: re.Pattern[str]
    words: str

    def class_of(self, name: str) -> str | None:
        """The class that a folder's name means."""
        match = self.pattern.fullmatch(plain(name))
        return match[1] if match else None

    def classes(self, root: Path) -> dict[Path, str]:
        """The class of each class folder in `root`."""
        found = {root / name: self.class_of(name) for name in subfolders(root)}
        return {folder: meaning for folder, meaning in found.items() if meaning is not None}


def find(root: Path, shape: Shape, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its label and its patient.

    A patient with scans in two classes is reported: it is one patient, whose scans stay together. So are folders that
    are no class and hold scans.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        ScanError: a folder can't be listed, or its name can't be written.
    """
    found = Found()
    classes = shape.classes(root)
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for folder, meaning in classes.items():
        for scan in scans_below(folder, root, found, known):
            found.scans[scan] = (TRAIN, shape.labels[meaning])
            below = scan.split("/")[1:]
            if len(below) > 1 and plain(below[0]) in (meaning, plain(folder.name)):  # an archive unpacked into a folder
                del below[0]
            if below:
                found.patients[scan] = patient = stem(below[0])
                places[patient].setdefault(meaning, f"{folder.name}/{patient}")
    _report_shared(places, found)
    others = [root / name for name in subfolders(root) if root / name not in classes and is_searched(name)]
    leave_out(others, root, f"is none of {shape.words}", found, known)
    return found


def _report_shared(places: Mapping[str, Mapping[str, str]], found: Found) -> None:
    """Report patients of several classes, of whom `places` has a folder by class."""
    shared = [in_words(sorted(folders.values())) for _, folders in sorted(places.items()) if len(folders) > 1]
    if shared:
        more = "; …" if len(shared) > _NAMED else ""
        found.problems.append(
            f"{len(shared)} patient{'s have' if len(shared) > 1 else ' has'} scans in several classes "
            f"({'; '.join(shared[:_NAMED])}{more}): all scans of a patient are put into one fold"
        )
