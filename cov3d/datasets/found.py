"""What the search of a dataset's folders gives, whatever its layout, and the search itself.

The readers are loaded when a folder is searched, so that the names of the layouts, which `--help` prints, load fast.
"""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.errors import DatasetError

if TYPE_CHECKING:
    from cov3d.readers import LeftOut

TRAIN, VALIDATION, TEST = "train", "validation", "test"
UNLABELLED = (TEST, "")
"""Partition and label of an unknown scan: it is preprocessed, and neither trained nor scored on."""
_UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, of halves of characters, and of line and paragraph separators."""


@dataclass
class Found:
    """Scans found under a root.

    Attributes:
        scans: partition and label, by name.
        problems: what was found wrong.
        without_file: scans whose file of labels is missing.
        left_out: what looks like a scan and is not taken.
        patients: the patient of each scan, by its name; empty if the dataset has no patients.
        centres: the centre that each scan is from, by its name; without those of no known centre.
    """

    scans: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    without_file: set[str] = field(default_factory=set)
    left_out: list["LeftOut"] = field(default_factory=list)
    patients: dict[str, str] = field(default_factory=dict)
    centres: dict[str, str] = field(default_factory=dict)

    def leave_out(self, left_out: Iterable["LeftOut"], root: Path) -> None:
        """Note what looks like a scan and is not taken; here the paths are relative to `root`."""
        for left in left_out:
            self.left_out.append(replace(left, path=left.path.relative_to(root)))
            self.problems.append(f"left out: {self.left_out[-1]}")


def scans_below(folder: Path, root: Path, into: Found, known: Collection[Path] = ()) -> list[str]:
    """Names (paths relative to `root`) of the scans at any depth below `folder`, sorted.

    What looks like a scan and is none is noted in `into`: scans that are lost, have one slice, or are of a format that
    is not read.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        ScanError: a folder can't be listed, or its name can't be written.
    """
    from cov3d.readers import LeftOut, search_scans

    if not folder.is_dir():
        return []
    search = search_scans(folder, known)
    left_out = list(search.left_out)
    for found in search.scans:
        if found.lost:
            left_out += [LeftOut(found.path, "holds no JPEG slices", is_scan=True), *found.instead]
    into.leave_out(sorted(left_out, key=str), root)
    return sorted(found.path.relative_to(root).as_posix() for found in search.scans if not found.lost)


def check_names(scans: Iterable[str]) -> None:
    """Refuse names that do not come back from a table of text as they are.

    Raises:
        DatasetError: one has a line break or another control character, or is not UTF-8.
    """
    for scan in scans:
        if any(unicodedata.category(sign) in _UNWRITABLE for sign in scan):
            raise DatasetError(
                f"{scan!r} has a line break, a control character or a sign that is not UTF-8 in its name, which no "
                "table can hold: rename the folder or file"
            )


def stem(scan: str) -> str:
    """A scan's name without the folders above it and, of a file, without its suffix."""
    from cov3d.readers.registry import file_suffixes

    name = scan.rpartition("/")[2]
    return next((name[: -len(suffix)] for suffix in file_suffixes() if name.lower().endswith(suffix)), name)


def in_words(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last
