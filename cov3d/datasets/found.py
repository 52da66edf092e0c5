"""What the search of a dataset's folders gives, whatever its layout, and the search itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.readers import walk_scans
from cov3d.readers.image import SUFFIXES

TRAIN, VALIDATION, TEST = "train", "validation", "test"
UNLABELLED = (TEST, "")
"""Partition and label of a scan of which nothing is known: it is preprocessed, and neither trained nor scored on."""


@dataclass
class Found:
    """Scans found under a root: name → (partition, label), and what was found wrong."""

    scans: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def scans_below(folder: Path, root: Path, problems: list[str]) -> list[str]:
    """Names (paths relative to `root`) of the scans at any depth below `folder`, sorted; lost ones are problems.

    Raises:
        ScanError: a folder can't be listed, or its name can't be written.
    """
    if not folder.is_dir():
        return []
    scans: list[str] = []
    for found in walk_scans(folder):
        name = found.path.relative_to(root).as_posix()
        if found.lost:
            problems.append(f"{name} holds no JPEG slices: left out")
        else:
            scans.append(name)
    return sorted(scans)


def stem(scan: str) -> str:
    """A scan's name without the folders above it and, of a file, without its suffix."""
    name = scan.rpartition("/")[2]
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def in_words(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last
