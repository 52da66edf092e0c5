"""Path → Volume. A reader knows a format; nothing after this room does."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.image import SUFFIXES, is_image, read_image
from cov3d.readers.jpeg import is_slice_file, read_jpeg_folder
from cov3d.readers.threads import default_threads
from cov3d.volume import Volume

__all__ = ["A_SCAN", "Found", "find_scans", "read_volume", "walk_scans"]

A_SCAN = f"a scan is a folder of JPEG slices (1.jpg, 2.jpg, …) or a file in Hounsfield units ({', '.join(SUFFIXES)})"
"""What is taken for a scan, for the errors that say so."""

_NOT_SCANS = ("masks", "@eadir", "__macosx")
"""Folders that are not searched, in lower case: label maps, and what network drives and archives add."""


def read_volume(path: Path, threads: int | None = None) -> Volume:
    """Read one scan: a folder of JPEG slices, or a NIfTI or MetaImage file in Hounsfield units.

    Args:
        path: the folder or file.
        threads: threads that decode slices; None for as many as the machine has, up to eight. The volume does not
            depend on them.

    Raises:
        ScanError: the scan does not exist, is of no known format, is not in Hounsfield units, or can't be decoded.
    """
    _check_format(path)
    if path.is_dir():
        return read_jpeg_folder(path, default_threads() if threads is None else threads)
    return read_image(path)


def _check_format(path: Path) -> None:
    if not path.exists():
        raise ScanError(f"there is no scan at {path}: check the path")
    if not path.is_dir() and not is_image(path.name):
        raise ScanError(f"{path} is no scan: {A_SCAN}")


@dataclass(frozen=True)
class Found:
    """A folder or file that is a scan, or a folder that was one.

    Attributes:
        path: the folder or file.
        lost: it is a folder that stands among scans, with no scan and no folder in it: a scan whose slices were lost,
            or that is of a format not read. Leaving it out would lose a patient silently.
    """

    path: Path
    lost: bool


def walk_scans(root: Path, known: Collection[Path] = ()) -> Iterator[Found]:
    """Every scan, or what was one, at or below `root`, in no particular order; links are followed.

    Folders called `masks` are not searched: label maps have the names and formats of scans. Neither are `@eaDir` and
    `__MACOSX`, which hold thumbnails, nor stores and predictions of ours.

    Args:
        known: folders that are scans, with none below them: they are not listed again.

    Raises:
        ScanError: a folder can't be listed, or a name is not UTF-8 and so could not be written into any table.
    """
    inside = _list(root)
    if inside.slices:
        yield Found(root, lost=False)
    yield from _walk(root, inside, (), known)


def _walk(folder: Path, inside: "_Listing", above: tuple[str, ...], known: Collection[Path]) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder above it
        return
    yield from (Found(folder / name, lost=False) for name in inside.images)
    leaves: list[tuple[Path, bool]] = []
    among_slices = among_files = False
    for name in inside.subfolders:
        if name.lower() in _NOT_SCANS:
            continue
        subfolder = folder / name
        if subfolder in known:
            among_slices = True
            yield Found(subfolder, lost=False)
            continue
        below = _list(subfolder)
        if below.ours:
            continue
        among_slices |= below.slices
        among_files |= len(below.images) == 1  # a folder a patient
        if below.slices:
            yield Found(subfolder, lost=False)
        elif not below.images and not below.subfolders:
            leaves.append((subfolder, below.empty))
        yield from _walk(subfolder, below, (*above, real), known)
    for leaf, empty in leaves:
        if among_slices or (among_files and empty):
            yield Found(leaf, lost=True)


@dataclass
class _Listing:
    """What a folder holds, hidden things left out."""

    slices: bool = False
    images: list[str] = field(default_factory=list)
    subfolders: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (self.slices or self.images or self.subfolders or self.others)

    @property
    def ours(self) -> bool:
        """Whether it is a store of preprocessed volumes, or the output of `infer`."""
        return ("settings.json" in self.others and "volumes" in self.subfolders) or "predictions.csv" in self.others


def _list(folder: Path) -> _Listing:
    listing = _Listing()
    for entry in _entries(folder):
        if is_slice_file(entry):
            listing.slices = True
        elif entry.name.startswith("."):
            pass
        elif entry.is_dir():
            listing.subfolders.append(entry.name)
        elif is_image(entry.name):
            listing.images.append(_writable(folder, entry.name))
        else:
            listing.others.add(entry.name)
    listing.subfolders.sort()
    return listing


def _writable(folder: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ScanError(f"{str(folder / name)!r} has a name that is not UTF-8: rename it") from None
    return name


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    _writable(folder.parent, folder.name)
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """Every scan at or below `paths`, lost ones included, each once, sorted.

    Raises:
        ScanError: a path does not exist, is a file of no known format, or holds no scan; or a folder can't be listed.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        if not path.is_dir():
            _check_format(path)
            found.add(path)
            continue
        here = {scan.path for scan in walk_scans(path)}
        if not here:
            raise ScanError(f"no scan found under {path}: {A_SCAN}")
        found |= here
    return sorted(found)
