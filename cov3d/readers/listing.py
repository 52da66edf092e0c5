"""Lists a folder: slices, files that are scans, files that are parts of scans, subfolders, and other files."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.registry import Format, formats, is_scan_file, part_of
from cov3d.readers.slice_names import number_of
from cov3d.readers.slices import is_slice_file
from cov3d.readers.unread import has_dicom_name, is_picture
from cov3d.run_files import CONFIG, HISTORY, PREDICTIONS


@dataclass
class Listing:
    """The contents of a folder, without hidden files.

    Attributes:
        slices: pictures of the commonest format, `slice_format`.
        images: files that are a scan each.
        parts: files that are scans only together, and their format.
        subfolders: folders.
        others: other files, with the pictures of other formats.
    """

    slices: list[str] = field(default_factory=list)
    slice_format: Format | None = None
    parts: dict[str, Format] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    subfolders: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (self.slices or self.images or self.parts or self.subfolders or self.others)

    @property
    def is_leaf(self) -> bool:
        """Whether it holds no volume and no folder."""
        return not (self.images or self.parts or self.subfolders)

    @property
    def has_figures_only(self) -> bool:
        """Whether it holds only pictures that are not slices."""
        names = [name for name in self.others if is_picture(name) and number_of(name) is None]
        return self.is_leaf and not self.slices and 0 < len(names) == len(self.others)

    @property
    def numbered(self) -> list[str]:
        """The slices with a number in their name, by number; all slices if no name has a number."""
        numbers = {name: number for name in self.slices if (number := number_of(name)) is not None}
        return sorted(numbers, key=lambda name: (numbers[name], name)) or sorted(self.slices)

    @property
    def ours(self) -> bool:
        """Whether it is a store of preprocessed volumes, or a folder of predictions, of a run or of a report."""
        return (
            ("settings.json" in self.others and "volumes" in self.subfolders)
            or PREDICTIONS in self.others
            or {CONFIG, HISTORY} <= self.others
            or {"report.html", "figure-1.svg"} <= self.others
        )


def list_folder(folder: Path) -> Listing:
    """List a folder.

    Raises:
        ScanError: it can't be listed, or a name is not UTF-8.
    """
    listing = Listing()
    pictures: dict[str, list[str]] = defaultdict(list)
    by_name = {format.name: format for format in formats() if format.slice_suffixes}
    for entry in _entries(folder):
        of_slices = next((f.name for f in by_name.values() if is_slice_file(entry, f.slice_suffixes)), None)
        if of_slices is not None:
            pictures[of_slices].append(entry.name)
        elif entry.name.startswith("."):
            pass
        elif entry.is_dir():
            listing.subfolders.append(entry.name)
        elif not (entry.is_file() or entry.is_symlink()):  # a pipe, a socket
            pass
        elif is_scan_file(entry.name):
            listing.images.append(_writable(folder, entry.name))
        elif has_dicom_name(entry.name) and (format := part_of(Path(entry.path))) is not None:
            listing.parts[_writable(folder, entry.name)] = format
        else:
            listing.others.add(entry.name)
    _choose_slices(listing, pictures, by_name)
    listing.subfolders.sort()
    listing.parts = dict(sorted(listing.parts.items()))
    return listing


def _choose_slices(listing: Listing, pictures: dict[str, list[str]], by_name: dict[str, Format]) -> None:
    """Take the pictures of one format as slices; only JPEGs may be slices without a number in their name."""
    first = next(iter(by_name))
    counts = {
        name: len(pictures[name]) if name == first else sum(number_of(file) is not None for file in pictures[name])
        for name in by_name
        if name in pictures
    }
    chosen = max(counts, key=lambda name: (counts[name], name == first), default=None)
    if chosen is not None and counts[chosen]:
        listing.slice_format, listing.slices = by_name[chosen], pictures.pop(chosen)
    listing.others |= {file for files in pictures.values() for file in files}


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
