"""A folder of pictures, JPEG or PNG, one for each slice → Volume.

Slices that can't be decoded are left out and noted. A slice is never made up from its neighbours, so every voxel of a
volume was measured.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.decode import Picture, decode_into, size_of_first
from cov3d.readers.kinds import Kind, kind_of_file, kinds_in_words
from cov3d.readers.slice_names import SliceOrder, missing_numbers, ordered_slices
from cov3d.readers.threads import each
from cov3d.readers.unread import find_unread, instead
from cov3d.readers.words import counted, in_ranges
from cov3d.volume import Volume


@dataclass(frozen=True)
class SliceFormat:
    """How the slices of a format are read.

    Attributes:
        kind: the format of the pictures.
        suffixes: endings of their names.
        zero: the value of 0 HU in 16-bit pictures of Hounsfield units; None where the full range is the window.
    """

    kind: Kind
    suffixes: tuple[str, ...]
    zero: int | None = None


def is_slice_file(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> bool:
    """Whether an entry of a folder is a slice: a file, or a link to one, even if the file no longer exists.

    Hidden files are not slices: macOS adds a shadow file `._1.jpg` for `1.jpg`.
    """
    if not entry.name.lower().endswith(suffixes) or entry.name.startswith("."):
        return False
    return entry.is_file() or (entry.is_symlink() and not entry.is_dir())


def read_slices(folder: Path, threads: int, slices: SliceFormat) -> Volume:
    """Read a folder of slices.

    Colour becomes grey, and more than 8 bits become 8. Slices that differ from the commonest size are resized to it.
    Pictures of another format than their name says are read; pictures with an EXIF orientation are turned. Both are
    noted. Unreadable slices and missing numbers are left out and noted.

    Args:
        folder: the scan.
        threads: threads that decode; the volume does not depend on them.
        slices: how they are read.

    Raises:
        ScanError: there are no slices, their names have no numbers, two slices have one number, or more than half can't
            be read.
    """
    order = numbered_slices(folder, slices)
    numbered = order.files
    dead = [number for number, file in numbered.items() if not os.path.exists(file)]  # noqa: PTH110
    if len(dead) == len(numbered):
        raise ScanError(f"all {len(dead)} slices in {folder} are links to files that do not exist: copy the scan again")
    found = _decode_all(list(numbered.values()), threads, slices.zero)
    pictures = found[1] if found else [None] * len(numbered)
    decoded = {number: picture for number, picture in zip(numbered, pictures, strict=True) if picture is not None}
    unreadable = {number: file for number, file in numbered.items() if number not in decoded and number not in dead}
    if found is None or len(decoded) * 2 < len(numbered):
        raise _unreadable_scan(folder, len(decoded), len(numbered), unreadable.values(), slices.kind)
    missing, missing_notes = _missing(list(numbered))
    voxels = found[0]
    return Volume(
        voxels=voxels,
        path=folder,
        slices_found=len(numbered),
        notes=(
            *order.notes,
            *_notes_on_lost(dead, unreadable, slices.kind),
            *missing_notes,
            *_notes_on_pictures(decoded, voxels.shape[1:], slices),
        ),
        format=f"{slices.kind.name} slices",
        orientation_known=False,
        window_known=slices.zero is not None,
        missing=len(dead) + order.missing + missing,
        corrupt=len(unreadable),
    )


def numbered_slices(folder: Path, slices: SliceFormat) -> SliceOrder:
    """The slices of a folder in their order.

    Raises:
        ScanError: there are none, they have no numbers, or two have one number.
    """
    try:
        with os.scandir(folder) as entries:
            present = list(entries)
    except OSError as error:
        raise ScanError(f"the scan folder {folder} can't be listed: {error.strerror}") from error
    files = sorted(entry.name for entry in present if is_slice_file(entry, slices.suffixes))
    if not files:
        others = [entry.name for entry in present if not entry.is_dir() and not entry.name.startswith(".")]
        names = f"1{slices.suffixes[0]}, 2{slices.suffixes[0]}, …"
        found = instead(find_unread(folder, others))
        raise ScanError(f"no {slices.kind.name} slices ({names}) in {folder}{found}")
    return ordered_slices(folder, files)


def _missing(numbers: list[int]) -> tuple[int, list[str]]:
    """The number of missing slices, and a note on them; numbers that are far apart are only noted."""
    missing, gaps = missing_numbers(numbers)
    if missing > len(numbers):
        return 0, [f"slice numbers are far apart ({min(numbers)} to {max(numbers)}): are they one series?"]
    return missing, [f"{counted(missing, 'slice')} missing ({', '.join(gaps)})"] if missing else []


def _notes_on_lost(dead: list[int], unreadable: Mapping[int, str], expected: Kind) -> list[str]:
    """Notes on slices that are dead links, and on those that can't be decoded, by number."""
    notes = []
    if dead:
        notes.append(f"{counted(len(dead), 'slice')} missing: links to files that do not exist ({in_ranges(dead)})")
    if unreadable:
        kinds, _ = kinds_in_words(_kind_of_unreadable(file, expected) for file in unreadable.values())
        what = f"{counted(len(unreadable), 'unreadable slice')} left out ({in_ranges(unreadable)})"
        notes.append(what + (f": {kinds}" if kinds else ""))
    return notes


def _kind_of_unreadable(file: str, expected: Kind) -> Kind | None:
    """The kind of a slice that can't be decoded; None for a damaged slice of the expected kind."""
    kind = kind_of_file(file)
    return None if kind == expected else kind


def _unreadable_scan(folder: Path, decoded: int, slices: int, unreadable: Iterable[str], kind: Kind) -> ScanError:
    """The error of a scan of which less than half can be read: what its files are, and what to do."""
    kinds, advice = kinds_in_words(_kind_of_unreadable(file, kind) for file in unreadable)
    which = f"{slices - decoded} of the {slices} slices in {folder} can't be"
    if not decoded:
        which = f"none of the {slices} slices in {folder} can be"
    return ScanError(f"{which} read as {kind.name}{f' ({kinds})' if kinds else ''}: {advice or 'copy the scan again'}")


def _notes_on_pictures(decoded: Mapping[int, Picture], size: tuple[int, ...], slices: SliceFormat) -> list[str]:
    """Notes on unusual pictures, by number, and on how they were read."""
    height, width = size
    pictures = list(decoded.items())
    unusual = [([n for n, picture in pictures if picture[:2] != (height, width)], f"resized to {width}x{height}")]
    for bits in sorted({picture.bits for picture in decoded.values()} - {8}):
        deep = [n for n, picture in pictures if picture.bits == bits]
        if slices.zero is None:
            unusual.append((deep, f"of {bits} bits, their full range taken as the window"))
    for kind in sorted({picture.kind for picture in decoded.values()} - {slices.kind}, key=lambda kind: kind.name):
        others = [n for n, picture in pictures if picture.kind == kind]
        unusual.append((others, f"{'is' if len(others) == 1 else 'are'} {kind.name}, not {slices.kind.name}"))
    unusual.append(([n for n, picture in pictures if picture.orientation != 1], "turned by the EXIF orientation"))
    unusual.append(([n for n, picture in pictures if picture.frames > 1], "of several pictures: the first taken"))
    return [f"{counted(len(numbers), 'slice')} {what} ({in_ranges(numbers)})" for numbers, what in unusual if numbers]


def _decode_all(
    files: list[str], threads: int, zero: int | None
) -> tuple[NDArray[np.uint8], list[Picture | None]] | None:
    """The voxels of the readable pictures at the commonest size, and a description of each file.

    The size of the first picture is tried first. It is the commonest in nearly every scan, so that files are rarely
    read twice.
    """
    size = size_of_first(files)
    for _ in range(2):
        if size is None:
            break
        voxels = np.empty((len(files), *size), dtype=np.uint8)
        pictures = each(lambda index: decode_into(files[index], voxels[index], zero), len(files), threads)  # noqa: B023
        sizes = Counter(picture[:2] for picture in pictures if picture is not None)
        commonest = sizes.most_common(1)[0][0] if sizes else None
        if commonest == size:
            used = [index for index, picture in enumerate(pictures) if picture is not None]
            for place, index in enumerate(used):
                if place != index:
                    voxels[place] = voxels[index]
            return voxels[: len(used)], pictures
        size = commonest
    return None
