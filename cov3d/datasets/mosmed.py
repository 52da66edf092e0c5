"""MosMedData → scans with labels.

`studies/CT-0 … CT-4/study_<n>.nii.gz`. CT-0 is no sign of COVID-19; CT-1 to CT-4 are classes of the involved share
of the lungs: up to 25 %, 25 to 50 %, 50 to 75 %, over 75 %. They are the five categories of the method. There are no
partitions.
"""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from cov3d.datasets.folders import merged, named, others, path_in_any_case, plain
from cov3d.datasets.found import TRAIN, UNLABELLED, Found, in_words, scans_below, stem
from cov3d.labels import CATEGORIES

NAME = "MosMedData"
STUDIES = "studies"
CATEGORY_OF_FOLDER = {f"CT-{number}": category for number, category in enumerate(CATEGORIES)}
_FOLDERS = {name: (plain(name),) for name in CATEGORY_OF_FOLDER}


def is_mosmed(root: Path) -> bool:
    """Whether `root` has folders CT-0 to CT-4."""
    return bool(named(path_in_any_case(root, STUDIES), _FOLDERS))


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its label.

    Folders with other names, and studies in two folders, are reported in `problems`; the latter have no label.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        ScanError: a folder can't be listed.
    """
    found = Found()
    by_study: dict[str, list[str]] = defaultdict(list)
    studies = path_in_any_case(root, STUDIES)
    for name, folders in named(studies, _FOLDERS).items():
        found.problems += merged(folders, root, name)
        for scan in (scan for folder in folders for scan in scans_below(folder, root, found, known)):
            found.scans[scan] = (TRAIN, CATEGORY_OF_FOLDER[name])
            by_study[stem(scan)].append(scan)
    for scans in by_study.values():
        if len(scans) > 1:
            found.problems.append(f"{in_words(scans)} have one name: they are left without a label")
            found.scans |= dict.fromkeys(scans, UNLABELLED)
    for other in others(studies, _FOLDERS):
        found.problems.append(
            f"{other.relative_to(root).as_posix()} is none of {', '.join(CATEGORY_OF_FOLDER)}: left out"
        )
    return found
