"""Path → Volume. A reader knows a format; nothing after this room does."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.jpeg import is_slice, read_jpeg_folder
from cov3d.volume import Volume

__all__ = ["find_scans", "read_volume"]


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


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """Every scan at or below `paths`, each once, sorted.

    A folder with JPEG slices in it is a scan. So is a folder with nothing in it, below a given path: it is a scan
    whose slices were lost, and reading it will say so; leaving it out would lose a patient silently.

    Raises:
        ScanError: a path does not exist, or no scan is at or below it.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        here = set(_walk(path)) if path.is_dir() else {path}
        if not any(scan.is_file() or _has_slices(scan) for scan in here):
            raise ScanError(f"no scan found under {path}: a scan is a folder of JPEG slices (1.jpg, 2.jpg, …)")
        found |= here
    return sorted(found)


def _walk(root: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if real in seen:  # a link back to a folder above it
            subfolders.clear()
            continue
        seen.add(real)
        lost = not subfolders and not files and Path(folder) != root
        if lost or any(is_slice(name) for name in files):
            yield Path(folder)


def _has_slices(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_slice(entry.name) for entry in entries)
