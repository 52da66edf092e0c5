"""Which files and folders of a tree are scans, and what was left out though it looks like one.

Finding opens no scan. A folder of JPEG pictures is a scan if it holds more than one, and nothing in or below it says
that they are pictures beside scans.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.image import SUFFIXES, is_image
from cov3d.readers.jpeg import is_slice_file, number_of
from cov3d.readers.kinds import kind_of_file
from cov3d.readers.unread import MOST_BESIDE, LeftOut, find_unread, in_range, instead
from cov3d.run_files import CONFIG, HISTORY, PREDICTIONS

A_SCAN = f"a scan is a folder of JPEG slices (1.jpg, 2.jpg, …) or a file in Hounsfield units ({', '.join(SUFFIXES)})"
"""What is taken for a scan, for the errors that say so."""

_NOT_SCANS = ("masks", "@eadir", "__macosx")
"""Folders that are not searched, in lower case: label maps, and what network drives and archives add."""


@dataclass(frozen=True)
class Found:
    """A folder or file that is a scan, or a folder that was one.

    Attributes:
        path: the folder or file.
        lost: it is a folder that stands among scans, with no scan and no folder in it: a scan whose slices were lost,
            or that is of a format not read. Leaving it out would lose a patient silently.
        slices: in the folder; 0 for a file.
        instead: what a lost scan's folder holds that is in no format that is read.
    """

    path: Path
    lost: bool = False
    slices: int = 0
    instead: tuple[LeftOut, ...] = ()


@dataclass
class Search:
    """What a search found: scans, and what was left out, each in no particular order."""

    scans: list[Found] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class Discovery:
    """Scans for a command to work on.

    Attributes:
        scans: their paths, lost ones included, each once, sorted.
        left_out: what looks like a scan and is not taken, sorted by path.
    """

    scans: list[Path]
    left_out: list[LeftOut]


def search_scans(root: Path, known: Collection[Path] = (), *, named: bool = False) -> Search:
    """Every scan, or what was one, at or below `root`, and what was left out; links are followed.

    Folders called `masks` are not searched: label maps have the names and formats of scans. Neither are `@eaDir` and
    `__MACOSX`, which hold thumbnails, nor what cov3d writes: stores, predictions, runs and reports.

    Args:
        root: the folder.
        known: folders that are scans, with none below them: they are not listed again.
        named: whether a person named it as a scan: it is one then even with a single slice.

    Raises:
        ScanError: a folder can't be listed, or a name is not UTF-8 and so could not be written into any table.
    """
    return _search(root, _list(root), above=(), known=known, named=named)


def walk_scans(root: Path, known: Collection[Path] = ()) -> list[Found]:
    """The scans of `search_scans`."""
    return search_scans(root, known).scans


def discover(paths: Iterable[Path]) -> Discovery:
    """Every scan at or below `paths`, and what was left out.

    Raises:
        ScanError: a path does not exist, is a file of no known format, or holds no scan; or a folder can't be listed.
    """
    scans: set[Path] = set()
    left_out: dict[tuple[Path, str], LeftOut] = {}
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        if not path.is_dir():
            check_format(path)
            scans.add(path)
            continue
        here = search_scans(path, named=True)
        if not here.scans:
            raise ScanError(f"no scan found under {path}: {A_SCAN}{instead(here.left_out)}")
        scans |= {scan.path for scan in here.scans}
        left_out |= {(left.path, left.reason): left for left in here.left_out}
    return Discovery(sorted(scans), [left_out[key] for key in sorted(left_out) if key[0] not in scans])


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans of `discover`."""
    return discover(paths).scans


def check_format(path: Path) -> None:
    """Refuse a path that can't be a scan by its name.

    Raises:
        ScanError: it does not exist, or is a file of no format that is read.
    """
    if not path.exists():
        raise ScanError(f"there is no scan at {path}: check the path")
    if not path.is_dir() and not is_image(path.name):
        kind = kind_of_file(path)
        raise ScanError(f"{path} is no scan: {A_SCAN}{f'; it is {kind.one}: {kind.advice}' if kind else ''}")


def _search(
    folder: Path, inside: "_Listing", above: tuple[str, ...], known: Collection[Path], *, named: bool = False
) -> Search:
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder above it
        return Search()
    found = Search([Found(folder / name) for name in inside.images])
    searched: list[tuple[Path, _Listing, Search]] = []
    for name in inside.subfolders:
        if name.lower() in _NOT_SCANS:
            continue
        if folder / name in known:
            found.scans.append(Found(folder / name))
            continue
        below = _list(folder / name)
        if not below.ours:
            searched.append((folder / name, below, _search(folder / name, below, (*above, real), known)))
    among_slices = len(found.scans) > len(inside.images) or any(
        scan.path == subfolder for subfolder, _, search in searched for scan in search.scans
    )
    among_files = any(len(below.images) == 1 for _, below, _ in searched)  # a folder a patient
    for subfolder, below, search in searched:
        if below.is_leaf and not below.slices and (among_slices or (among_files and below.empty)):
            found.scans.append(Found(subfolder, lost=True, instead=tuple(search.left_out)))
            continue
        found.scans += search.scans
        is_patient = below.is_leaf and below.slices and among_slices
        found.left_out += [replace(left, is_scan=True) if is_patient else left for left in search.left_out]
    _add_own_slices(found, folder, inside, named=named)
    beside = any(not scan.lost for scan in found.scans)
    taken = [*inside.subfolders, *inside.images]
    found.left_out += find_unread(folder, inside.others, taken, beside_scans=beside)
    return found


def _add_own_slices(found: Search, folder: Path, inside: "_Listing", *, named: bool) -> None:
    """Take the JPEG pictures of a folder for a scan or leave them out, by what else was found in and below it."""
    slices = inside.numbered
    beside = [scan for scan in found.scans if not scan.lost]
    if not slices:
        return
    if _are_scan(len(slices), beside, named=named):
        found.scans.append(Found(folder, slices=len(slices)))
    elif not beside:
        reason = f"holds 1 slice ({slices[0]}): a scan has more than one"
        found.left_out.append(LeftOut(folder, reason, is_scan=False))
    elif len(slices) == 1:
        found.left_out.append(LeftOut(folder / slices[0], "is a picture beside scans: it is no scan", is_scan=False))
    else:
        reason = f"holds {in_range(slices, 'pictures')} beside scans: if they are a scan, give it a folder of its own"
        found.left_out.append(LeftOut(folder, reason, is_scan=len(slices) > MOST_BESIDE))


def _are_scan(slices: int, beside: list[Found], *, named: bool) -> bool:
    """Whether so many pictures in a folder are a scan, where these scans are in or below it."""
    if not beside:
        return slices > 1 or named
    # Two series of one patient: in the folder, and in one below it.
    return slices > 1 and len(beside) == 1 and 0 < beside[0].slices <= 2 * slices


@dataclass
class _Listing:
    """What a folder holds, hidden things left out."""

    slices: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    subfolders: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (self.slices or self.images or self.subfolders or self.others)

    @property
    def is_leaf(self) -> bool:
        """Whether it holds no volume and no folder."""
        return not (self.images or self.subfolders)

    @property
    def numbered(self) -> list[str]:
        """The slices with a number in their name, in its order; all of them where none has one."""
        numbers = {name: number for name in self.slices if (number := number_of(name)) is not None}
        return sorted(numbers, key=lambda name: (numbers[name], name)) or sorted(self.slices)

    @property
    def ours(self) -> bool:
        """Whether it is a store of preprocessed volumes, or the output of `infer`, a run or a report."""
        return (
            ("settings.json" in self.others and "volumes" in self.subfolders)
            or PREDICTIONS in self.others
            or {CONFIG, HISTORY} <= self.others
            or {"report.html", "figure-1.svg"} <= self.others
        )


def _list(folder: Path) -> _Listing:
    listing = _Listing()
    for entry in _entries(folder):
        if is_slice_file(entry):
            listing.slices.append(entry.name)
        elif entry.name.startswith("."):
            pass
        elif entry.is_dir():
            listing.subfolders.append(entry.name)
        elif not (entry.is_file() or entry.is_symlink()):  # a pipe, a socket
            pass
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


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    _writable(folder.parent, folder.name)
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error
