"""Finds the scans of a folder tree, and the files and folders that look like scans and are not taken.

Files with the name of a scan are not opened. Files whose names do not show their format, such as DICOM, are identified
by their first bytes and sorted into scans by their headers, each read once. A folder of slices is a scan if it holds
more than one, and if nothing in or below it shows that they are pictures beside scans.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from cov3d.readers.left_out import LeftOut
from cov3d.readers.listing import Listing, list_folder
from cov3d.readers.registry import Format, by_suffix
from cov3d.readers.unread import MOST_BESIDE, in_range, not_scans, sort_unread, stem_of

_NOT_SCANS = ("masks", "@eadir", "__macosx")
"""Folders that are not searched, in lower case: label maps, and folders that network drives and archives add."""
_THUMBNAILS = ("thumbs", "thumbnail", "thumbnails", "preview", "previews")


@dataclass(frozen=True)
class FoundScan:
    """A folder or file that is a scan, or a folder that was one.

    Attributes:
        path: the folder or file.
        lost: whether it is a folder among scans, with no scan and no folder in it: a scan whose slices were lost, or in
            a format that is not read. Leaving it out would lose a patient silently.
        slices: number of slices in the folder; 0 for a file.
        instead: files in the folder of a lost scan that are in no format that is read.
    """

    path: Path
    lost: bool = False
    slices: int = 0
    instead: tuple[LeftOut, ...] = ()


@dataclass
class Search:
    """The result of a search, in no particular order.

    Attributes:
        scans: scans, and folders that were scans.
        left_out: files and folders that look like scans and are not taken.
        passed_over: files and folders that do not look like scans.
        parts: files that are scans only together, and their formats, until they are sorted into scans.
        has_series: whether the series that was asked for was found.
    """

    scans: list[FoundScan] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    passed_over: list[LeftOut] = field(default_factory=list)
    parts: list[tuple[Format, Path]] = field(default_factory=list)
    has_series: bool = False


def search_scans(root: Path, known: Collection[Path] = (), *, named: bool = False, series: str = "") -> Search:
    """Every scan at or below `root`, lost ones included, and every other file and folder. Links are followed.

    Folders named `masks` are not searched: label maps have the names and formats of scans. Neither are `@eaDir` and
    `__MACOSX`, which hold thumbnails, nor the results of cov3d: stores, predictions, runs and reports.

    Args:
        root: the folder.
        known: folders that are scans, with none below them. They are not listed again.
        named: whether a person gave it as a scan. It is one then even with a single slice.
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


def parts_below(folder: Path, inside: Listing) -> list[tuple[Format, Path]]:
    """The files at or below a folder that are scans only together, and their formats."""
    return _search(folder, inside, above=(), known=()).parts


def walk_scans(root: Path, known: Collection[Path] = ()) -> list[FoundScan]:
    """The scans of `search_scans`."""
    return search_scans(root, known).scans


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
        indices = {name for name in inside.others if name.lower() == "dicomdir"}
        found.passed_over += [LeftOut(folder / name, "is a DICOM index: not needed", is_scan=False) for name in indices]
        inside.others -= indices
    taken = [*inside.subfolders, *inside.images]
    left_out, others = sort_unread(folder, inside.others, taken, beside_scans=beside)
    found.left_out += left_out
    found.passed_over += not_scans(folder, others)
    return found


_Subfolder = tuple[Path, Listing, Search]


def _search_subfolders(
    found: Search, folder: Path, inside: Listing, above: tuple[str, ...], known: Collection[Path]
) -> list[_Subfolder]:
    """Search the subfolders that may hold scans; known scans and folders of previews are added to `found`."""
    searched = []
    for name in inside.subfolders:
        if name.lower() in _NOT_SCANS:
            reason = "is a folder of label maps, or of thumbnails by a system: not searched"
            found.passed_over.append(LeftOut(folder / name, reason, is_scan=False))
            continue
        if folder / name in known:
            found.scans.append(FoundScan(folder / name))
            continue
        if name.lower() in _THUMBNAILS:
            reason = "is a folder of previews: give it by itself if it is a scan"
            found.left_out.append(LeftOut(folder / name, reason, is_scan=False))
            continue
        below = list_folder(folder / name)
        if below.ours:
            reason = "holds results of cov3d: not searched"
            found.passed_over.append(LeftOut(folder / name, reason, is_scan=False))
            continue
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
            reason = f"holds {len(below.others)} pictures without a number: not slices"
            found.left_out.append(LeftOut(subfolder, reason, is_scan=False))
            continue
        if below.is_leaf and not below.slices and (among_slices or (among_files and below.empty)):
            found.scans.append(FoundScan(subfolder, lost=True, instead=tuple(search.left_out)))
            continue
        if below.empty:
            found.passed_over.append(LeftOut(subfolder, "is an empty folder", is_scan=False))
        found.scans += search.scans
        found.parts += search.parts
        found.passed_over += search.passed_over
        is_patient = below.is_leaf and below.slices and among_slices
        found.left_out += [replace(left, is_scan=True) if is_patient else left for left in search.left_out]


def _add_own_slices(found: Search, folder: Path, inside: Listing, *, named: bool) -> None:
    """Take the pictures of a folder as a scan, or leave them out if there are other scans in or below it."""
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
        found.left_out.append(LeftOut(folder / slices[0], "is a picture beside scans: not a scan", is_scan=False))
    else:
        reason = f"holds {in_range(slices, 'pictures')} beside scans: if they are a scan, give it a folder of its own"
        found.left_out.append(LeftOut(folder, reason, is_scan=len(slices) > MOST_BESIDE))


def _are_scan(slices: int, beside: list[FoundScan], *, named: bool) -> bool:
    """Whether a number of pictures in a folder is a scan, given the scans in and below the folder."""
    if not beside:
        return slices > 1 or named
    # Two series of one patient: one in the folder, and one in a subfolder.
    return slices > 1 and len(beside) == 1 and 0 < beside[0].slices <= 2 * slices


def _add_file(found: Search, folder: Path, name: str, inside: Listing) -> None:
    """Take a file as a scan, unless its content is no scan, or it is an archive beside the files that it holds."""
    format = by_suffix(name)
    if format is not None and format.why_no_scan is not None:
        if stem_of(name) in {stem_of(other) for other in (*inside.images, *inside.subfolders) if other != name}:
            reason = "is an archive beside the files that it holds"
            found.passed_over.append(LeftOut(folder / name, reason, is_scan=False))
            return
        if (folder / name).exists() and (why := format.why_no_scan(folder / name)):
            found.left_out.append(LeftOut(folder / name, why, is_scan="without a scan" not in why))
            return
    found.scans.append(FoundScan(folder / name))
