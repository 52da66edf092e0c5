"""Path → Volume. A reader knows a format; nothing after this room does."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.jpeg import is_slice, read_jpeg_folder
from cov3d.volume import Volume

__all__ = ["Found", "find_scans", "read_volume", "walk_scans"]


def read_volume(path: Path) -> Volume:
    """Read one scan, whatever its format: today a folder of JPEG slices.

    Raises:
        ScanError: the scan does not exist, is of no known format, or can't be decoded.
    """
    if not path.exists():
        raise ScanError(f"there is no scan at {path}: check the path")
    if not path.is_dir():
        raise ScanError(f"{path} is not a folder of JPEG slices: give the folder that holds 1.jpg, 2.jpg, …")
    return read_jpeg_folder(path)


@dataclass(frozen=True)
class Found:
    """A folder that is a scan, or was one.

    Attributes:
        path: the folder.
        lost: it holds no slice, but stands among scans and has no folders in it: a scan whose slices were lost, or
            that is of a format not read. Leaving it out would lose a patient silently.
    """

    path: Path
    lost: bool


def walk_scans(root: Path) -> Iterator[Found]:
    """Every folder at or below `root` that is a scan or was one, in no particular order; links are followed.

    Raises:
        ScanError: a folder can't be listed, or its name is not UTF-8 and so could not be written into any table.
    """
    yield from _walk(root, above=())


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder above it
        return
    leaves, any_scan = [], False
    for subfolder in _subfolders(folder):
        has_slices, has_subfolders = _look(subfolder)
        any_scan |= has_slices
        if has_slices:
            yield Found(subfolder, lost=False)
        elif not has_subfolders:
            leaves.append(subfolder)
        if has_subfolders:
            yield from _walk(subfolder, (*above, real))
    if any_scan:
        yield from (Found(leaf, lost=True) for leaf in leaves)
    if not above and _look(folder)[0]:
        yield Found(folder, lost=False)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))


def _look(folder: Path) -> tuple[bool, bool]:
    """Whether a folder holds slices, and whether it holds folders."""
    has_slices = has_subfolders = False
    for entry in _entries(folder):
        if is_slice(entry.name):
            has_slices = True
        elif not entry.name.startswith(".") and entry.is_dir():
            has_subfolders = True
    return has_slices, has_subfolders


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ScanError(f"the folder {str(folder)!r} has a name that is not UTF-8: rename it") from None
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """Every scan at or below `paths`, lost ones included, each once, sorted.

    Raises:
        ScanError: a path does not exist, no scan is at or below it, or a folder can't be listed.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        here = list(walk_scans(path)) if path.is_dir() else [Found(path, lost=False)]
        if not here:
            raise ScanError(f"no scan found under {path}: a scan is a folder of JPEG slices (1.jpg, 2.jpg, …)")
        found |= {scan.path for scan in here}
    return sorted(found)
