"""MosMedData → scans with labels.

`studies/CT-0 … CT-4/study_<n>.nii.gz`. CT-0 is no sign of COVID-19; CT-1 to CT-4 grade the share of the lungs that is
involved: up to 25 %, 25 to 50 %, 50 to 75 %, over 75 %. They are the five categories of the method. There are no
partitions.
"""

from collections import defaultdict
from pathlib import Path

from cov3d.datasets.found import TRAIN, UNLABELLED, Found, in_words, scans_below, stem
from cov3d.errors import ScanError
from cov3d.labels import CATEGORIES

NAME = "MosMedData"
STUDIES = "studies"
GRADES = {f"CT-{number}": category for number, category in enumerate(CATEGORIES)}


def is_mosmed(root: Path) -> bool:
    """Whether `root` has a folder of MosMedData's grades."""
    return any((root / STUDIES / grade).is_dir() for grade in GRADES)


def find(root: Path) -> Found:
    """Every scan under `root` with its label.

    Folders that are no grade, and studies that lie in two grades, are reported in `problems`; the latter have no label.

    Raises:
        ScanError: a folder can't be listed.
    """
    found = Found()
    grades: dict[str, list[str]] = defaultdict(list)
    for grade, category in GRADES.items():
        for scan in scans_below(root / STUDIES / grade, root, found):
            found.scans[scan] = (TRAIN, category)
            grades[stem(scan)].append(scan)
    for scans in grades.values():
        if len(scans) > 1:
            found.problems.append(f"{in_words(scans)} have one name: they are left without a label")
            found.scans |= dict.fromkeys(scans, UNLABELLED)
    for name in _others(root / STUDIES):
        found.problems.append(f"{STUDIES}/{name} is none of {', '.join(GRADES)}: left out")
    return found


def _others(studies: Path) -> list[str]:
    try:
        return sorted(
            entry.name
            for entry in studies.iterdir()
            if entry.is_dir() and entry.name not in GRADES and not entry.name.startswith(".")
        )
    except OSError as error:
        raise ScanError(f"the folder {studies} can't be listed: {error.strerror}") from error
