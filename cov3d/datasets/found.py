"""What the search of a dataset's folders gives, whatever its layout, and the search itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cov3d.readers import LeftOut, search_scans
from cov3d.readers.image import SUFFIXES

TRAIN, VALIDATION, TEST = "train", "validation", "test"
UNLABELLED = (TEST, "")
"""Partition and label of a scan of which nothing is known: it is preprocessed, and neither trained nor scored on."""


@dataclass
class Found:
    """Scans found under a root: name → (partition, label), what was found wrong, and what was left out."""

    scans: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, left_out: Iterable[LeftOut], root: Path) -> None:
        """Note what looks like a scan and is not taken; here the paths are relative to `root`."""
        for left in left_out:
            self.left_out.append(replace(left, path=left.path.relative_to(root)))
            self.problems.append(f"left out: {self.left_out[-1]}")


def scans_below(folder: Path, root: Path, into: Found) -> list[str]:
    """Names (paths relative to `root`) of the scans at any depth below `folder`, sorted.

    What looks like a scan and is none is noted in `into`: scans that are lost, have one slice, or are of a format that
    is not read.

    Raises:
        ScanError: a folder can't be listed, or its name can't be written.
    """
    if not folder.is_dir():
        return []
    search = search_scans(folder)
    left_out = list(search.left_out)
    for found in search.scans:
        if found.lost:
            left_out += [LeftOut(found.path, "holds no JPEG slices", is_scan=True), *found.instead]
    into.leave_out(sorted(left_out, key=str), root)
    return sorted(found.path.relative_to(root).as_posix() for found in search.scans if not found.lost)


def stem(scan: str) -> str:
    """A scan's name without the folders above it and, of a file, without its suffix."""
    name = scan.rpartition("/")[2]
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def in_words(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last
