"""Which files and folders of a tree are scans, and what was left out though it looks like one.

What is a scan by its name is not opened. Files whose names do not tell, as of DICOM, are known by their first bytes and
sorted into scans by their headers, each read once. A folder of slices is a scan if it holds more than one, and nothing
in or below it says that they are pictures beside scans.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.kinds import kind_of_file
from cov3d.readers.left_out import LeftOut
from cov3d.readers.listing import Listing, list_folder
from cov3d.readers.registry import Format, by_suffix, container_of, file_suffixes, formats, is_scan_file, part_of
from cov3d.readers.unread import MOST_BESIDE, find_unread, in_range, instead, stem_of

_NOT_SCANS = ("masks", "@eadir", "__macosx")
"""Folders that are not searched, in lower case: label maps, and what network drives and archives add."""
_THUMBNAILS = ("thumbs", "thumbnail", "thumbnails", "preview", "previews")


def a_scan() -> str:
    """What is taken for a scan, for the errors that say so."""
    return (
        "a scan is a folder of JPEG slices (1.jpg, 2.jpg, …) or of PNG slices, a DICOM series or a file of it, or a "
        f"file in Hounsfield units ({', '.join(file_suffixes())})"
    )


@dataclass(frozen=True)
class FoundScan:
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
    """What a search found, in no particular order: scans, what was left out, and files yet to be sorted into scans."""

    scans: list[FoundScan] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    parts: list[tuple[Format, Path]] = field(default_factory=list)
    has_series: bool = False


@dataclass(frozen=True)
class Discovery:
    """Scans for a command to work on.

    Attributes:
        scans: their paths, lost ones included, each once, sorted.
        left_out: what looks like a scan and is not taken, sorted by path.
    """

    scans: list[Path]
    left_out: list[LeftOut]


def search_scans(root: Path, known: Collection[Path] = (), *, named: bool = False, series: str = "") -> Search:
    """Every scan, or what was one, at or below `root`, and what was left out; links are followed.

    Folders called `masks` are not searched: label maps have the names and formats of scans. Neither are `@eaDir` and
    `__MACOSX`, which hold thumbnails, nor what cov3d writes: stores, predictions, runs and reports.

    Args:
        root: the folder.
        known: folders that are scans, with none below them: they are not listed again.
        named: whether a person named it as a scan: it is one then even with a single slice.
        series: the UID or short name of a DICOM series to take.

    Raises:
        ScanError: a folder can't be listed, or a name is not UTF-8 and so could not be written into any table.
    """
    return _sorted_out(_search(root, list_folder(root), above=(), known=known, named=named), series)


def _sorted_out(found: Search, series: str) -> Search:
    """Sort the files of formats that are scans only together into scans."""
    for format in {format.name: format for format, _ in found.parts}.values():
        if format.group is None:
            continue
        grouped = format.group([path for other, path in found.parts if other is format], series)
        found.scans += [FoundScan(path, slices=count) for path, count in grouped.scans.items()]
        found.left_out += grouped.left_out
        found.has_series |= grouped.has_series
    return found


def walk_scans(root: Path, known: Collection[Path] = ()) -> list[FoundScan]:
    """The scans of `search_scans`."""
    return search_scans(root, known).scans


def discover(paths: Iterable[Path], series: str = "") -> Discovery:
    """Every scan at or below `paths`, and what was left out.

    Args:
        paths: scans, and folders of scans.
        series: the UID or short name of a DICOM series to take, in place of the one that the rule chooses.

    Raises:
        ScanError: a path does not exist, is a file of no known format, or holds no scan; a folder can't be listed; or
            no exam holds the series.
    """
    scans: dict[str, Path] = {}
    left_out: dict[tuple[Path, str], LeftOut] = {}
    has_series = not series
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        if not path.is_dir():
            check_format(path)
            name = identity_of(path)
            has_series |= series == name != ""
            scans.setdefault(name or str(path), path)  # several files of one series are one scan
            continue
        here = search_scans(path, named=True, series=series)
        if not here.scans:
            raise ScanError(f"no scan found under {path}: {a_scan()}{instead(here.left_out)}")
        has_series |= here.has_series
        scans |= {str(scan.path): scan.path for scan in here.scans}
        left_out |= {(left.path, left.reason): left for left in here.left_out}
    if not has_series:
        raise ScanError("no exam holds the series that was asked for: check --series")
    found = sorted(set(scans.values()))
    return Discovery(found, [left_out[key] for key in sorted(left_out) if key[0] not in found])


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans of `discover`."""
    return discover(paths).scans


def check_format(path: Path) -> None:
    """Refuse a path that can't be a scan by its name and first bytes.

    Raises:
        ScanError: it does not exist, or is a file of no format that is read.
    """
    if not path.exists():
        raise ScanError(f"there is no scan at {path}: check the path")
    if not path.is_dir() and not is_scan_file(path.name) and part_of(path) is None:
        kind = kind_of_file(path)
        raise ScanError(f"{path} is no scan: {a_scan()}{f'; it is {kind.one}: {kind.advice}' if kind else ''}")


def format_at(path: Path) -> Format:
    """The format to read a scan as: of a file by its content, then its name; of a folder by what most of it is.

    Raises:
        ScanError: it is of no format that is read.
    """
    if not path.is_dir():
        return container_of(path).format if is_scan_file(path.name) else part_of(path) or container_of(path).format
    listing = list_folder(path)
    if listing.slice_format is not None and len(listing.slices) >= len(listing.parts):
        return listing.slice_format
    parts = _search(path, listing, above=(), known=()).parts
    return parts[0][0] if parts else next(format for format in formats() if format.slice_suffixes)


def identity_of(path: Path) -> str:
    """A short stable name of the series at a path; empty for a scan of a format without series."""
    format = format_at(path)
    return format.identity(path) if format.identity is not None else ""


def _search(
    folder: Path, inside: Listing, above: tuple[str, ...], known: Collection[Path], *, named: bool = False
) -> Search:
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder above it
        return Search()
    found = Search(parts=[(format, folder / name) for name, format in inside.parts.items()])
    for name in inside.images:
        _add_file(found, folder, name, inside)
    searched = _search_subfolders(found, folder, inside, (*above, real), known)
    _add_subfolders(found, searched, has_known=any(folder / name in known for name in inside.subfolders))
    _add_own_slices(found, folder, inside, named=named)
    beside = bool(found.parts) or any(not scan.lost for scan in found.scans)
    if found.parts:
        inside.others -= {name for name in inside.others if name.lower() == "dicomdir"}
    taken = [*inside.subfolders, *inside.images]
    found.left_out += find_unread(folder, inside.others, taken, beside_scans=beside)
    return found


_Subfolder = tuple[Path, Listing, Search]


def _search_subfolders(
    found: Search, folder: Path, inside: Listing, above: tuple[str, ...], known: Collection[Path]
) -> list[_Subfolder]:
    """Search the subfolders that may hold scans; known scans and folders of previews are added to `found`."""
    searched = []
    for name in inside.subfolders:
        if name.lower() in _NOT_SCANS:
            continue
        if folder / name in known:
            found.scans.append(FoundScan(folder / name))
            continue
        if name.lower() in _THUMBNAILS:
            reason = "is a folder of previews: give it by itself if it is a scan"
            found.left_out.append(LeftOut(folder / name, reason, is_scan=False))
            continue
        below = list_folder(folder / name)
        if not below.ours:
            searched.append((folder / name, below, _search(folder / name, below, above, known)))
    return searched


def _add_subfolders(found: Search, searched: list[_Subfolder], *, has_known: bool) -> None:
    """Add what was found in subfolders; a subfolder without a scan among scans is a lost scan or holds figures."""
    among_slices = has_known or any(
        scan.path == subfolder for subfolder, _, search in searched for scan in search.scans
    )
    # One folder for each patient.
    among_files = any(len(below.images) == 1 for _, below, _ in searched) or any(
        search.parts for *_, search in searched
    )
    for subfolder, below, search in searched:
        if below.has_figures_only and among_slices:
            reason = f"holds {len(below.others)} pictures without a number: they are no slices"
            found.left_out.append(LeftOut(subfolder, reason, is_scan=False))
            continue
        if below.is_leaf and not below.slices and (among_slices or (among_files and below.empty)):
            found.scans.append(FoundScan(subfolder, lost=True, instead=tuple(search.left_out)))
            continue
        found.scans += search.scans
        found.parts += search.parts
        is_patient = below.is_leaf and below.slices and among_slices
        found.left_out += [replace(left, is_scan=True) if is_patient else left for left in search.left_out]


def _add_own_slices(found: Search, folder: Path, inside: Listing, *, named: bool) -> None:
    """Take the JPEG pictures of a folder for a scan or leave them out, by what else was found in and below it."""
    slices = inside.numbered
    beside = [scan for scan in found.scans if not scan.lost]
    beside += [FoundScan(path) for _, path in found.parts[:1]]
    if not slices:
        return
    if _are_scan(len(slices), beside, named=named):
        found.scans.append(FoundScan(folder, slices=len(slices)))
    elif not beside:
        reason = f"holds 1 slice ({slices[0]}): a scan has more than one"
        found.left_out.append(LeftOut(folder, reason, is_scan=False))
    elif len(slices) == 1:
        found.left_out.append(LeftOut(folder / slices[0], "is a picture beside scans: it is no scan", is_scan=False))
    else:
        reason = f"holds {in_range(slices, 'pictures')} beside scans: if they are a scan, give it a folder of its own"
        found.left_out.append(LeftOut(folder, reason, is_scan=len(slices) > MOST_BESIDE))


def _are_scan(slices: int, beside: list[FoundScan], *, named: bool) -> bool:
    """Whether so many pictures in a folder are a scan, where these scans are in or below it."""
    if not beside:
        return slices > 1 or named
    # Two series of one patient: in the folder, and in one below it.
    return slices > 1 and len(beside) == 1 and 0 < beside[0].slices <= 2 * slices


def _add_file(found: Search, folder: Path, name: str, inside: Listing) -> None:
    """Take a file for a scan, unless its content says that it is none, or it is an archive beside what it holds."""
    format = by_suffix(name)
    if format is not None and format.why_no_scan is not None:
        if stem_of(name) in {stem_of(other) for other in (*inside.images, *inside.subfolders) if other != name}:
            return
        if (folder / name).exists() and (why := format.why_no_scan(folder / name)):
            found.left_out.append(LeftOut(folder / name, why, is_scan="without a scan" not in why))
            return
    found.scans.append(FoundScan(folder / name))
