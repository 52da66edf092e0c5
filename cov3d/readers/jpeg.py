"""A folder of pictures, JPEG or PNG, one a slice → Volume.

Slices sort by the number in their name, never by text. What can't be decoded is left out and noted: a slice is
never made up from its neighbours, so every voxel of a volume was measured.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.decode import Picture, decode_into, size_of_first
from cov3d.readers.kinds import JPEG, Kind, kind_of_file, kinds_in_words
from cov3d.readers.registry import Format
from cov3d.readers.threads import each
from cov3d.readers.unread import find_unread, instead
from cov3d.volume import Volume

_DIGITS = re.compile(r"\d+")
_POSITION = re.compile(r"(?<![\d.])(\d+)(?:\.(\d+))?$")
"""A number at the end of a name, with one decimal point at most: a UID has more."""
_COPY = re.compile(r"(?: ?\(\d+\)|[ _-]+copy(?: ?\(?\d+\)?)?)$", re.IGNORECASE)
"""What file managers add to the name of a second copy: `12 (1)`, `12 - Copy`."""


def is_slice_file(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> bool:
    """Whether an entry of a folder is a slice: a file, or a link to one, even if the file is gone. No folder is one.

    A hidden one is none: `._1.jpg` is a Mac's shadow of a slice.
    """
    if not entry.name.lower().endswith(suffixes) or entry.name.startswith("."):
        return False
    return entry.is_file() or (entry.is_symlink() and not entry.is_dir())


def number_of(name: str) -> int | None:
    """The number of a slice, the last in its name: of 7.jpg, slice_007.jpg, CT12_slice7.jpg. None if it has none."""
    digits = _DIGITS.findall(name.rpartition(".")[0])
    return int(digits[-1]) if digits else None


@dataclass(frozen=True)
class Slices:
    """How the slices of a format are read.

    Attributes:
        kind: what the pictures are.
        suffixes: endings of their names.
        zero: the value of 0 HU in 16-bit pictures of Hounsfield units; None where the full range is the window.
    """

    kind: Kind
    suffixes: tuple[str, ...]
    zero: int | None = None


def read_slices(folder: Path, threads: int, slices: Slices) -> Volume:
    """Read a folder of slices.

    Colour is reduced to grey, more than 8 bits a pixel to 8. Slices of another size than most are resized to it. Slices
    that are pictures of another format in spite of their name are read, and those with an EXIF orientation turned; both
    are noted. Slices that can't be decoded and numbers that are missing are left out and stand in the volume's notes.

    Args:
        folder: the scan.
        threads: threads that decode; the volume does not depend on them.
        slices: how they are read.

    Raises:
        ScanError: no slices, no numbers in their names, two slices of one number, or more than half unreadable.
    """
    numbered, notes, lacking = numbered_slices(folder, slices)
    dead = [number for number, file in numbered.items() if not os.path.exists(file)]  # noqa: PTH110
    if len(dead) == len(numbered):
        raise ScanError(f"all {len(dead)} slices in {folder} are links to files that do not exist: copy the scan again")
    found = _decode_all(list(numbered.values()), threads, slices.zero)
    pictures = found[1] if found else [None] * len(numbered)
    decoded = {number: picture for number, picture in zip(numbered, pictures, strict=True) if picture is not None}
    unreadable = {number: file for number, file in numbered.items() if number not in decoded and number not in dead}
    if found is None or len(decoded) * 2 < len(numbered):
        raise _unreadable_scan(folder, len(decoded), len(numbered), unreadable.values(), slices.kind)
    if dead:
        notes.append(
            f"{_count(len(dead), 'slice')} missing: links to files that do not exist ({_in_words(_runs(dead))})"
        )
    if unreadable:
        kinds, _ = kinds_in_words(_kind_of_unreadable(file, slices.kind) for file in unreadable.values())
        where = f"({_in_words(_runs(unreadable))})"
        notes.append(
            f"{_count(len(unreadable), 'unreadable slice')} left out {where}" + (f": {kinds}" if kinds else "")
        )
    missing, gaps = _missing(list(numbered))
    if missing > len(numbered):
        notes.append(f"slice numbers are far apart ({min(numbered)} to {max(numbered)}): are they one series?")
    elif missing:
        notes.append(f"{_count(missing, 'slice')} missing ({', '.join(gaps)})")
    voxels = found[0]
    notes += _notes_on_pictures(decoded, voxels.shape[1:], slices)
    return Volume(
        voxels=voxels,
        path=folder,
        slices_found=len(numbered),
        notes=tuple(notes),
        format=f"{slices.kind.name} slices",
        orientation_known=False,
        window_known=slices.zero is not None,
        missing=len(dead) + lacking + (0 if missing > len(numbered) else missing),
        corrupt=len(unreadable),
    )


def _kind_of_unreadable(file: str, expected: Kind) -> Kind | None:
    """What a slice is that can't be decoded, unless it is a damaged one of the kind that it should be."""
    kind = kind_of_file(file)
    return None if kind == expected else kind


def _unreadable_scan(folder: Path, decoded: int, slices: int, unreadable: Iterable[str], kind: Kind) -> ScanError:
    """The error of a scan of which less than half can be read: what its files are, and what to do."""
    kinds, advice = kinds_in_words(_kind_of_unreadable(file, kind) for file in unreadable)
    which = f"{slices - decoded} of the {slices} slices in {folder} can't be"
    if not decoded:
        which = f"none of the {slices} slices in {folder} can be"
    return ScanError(f"{which} read as {kind.name}{f' ({kinds})' if kinds else ''}: {advice or 'copy the scan again'}")


def _notes_on_pictures(decoded: Mapping[int, Picture], size: tuple[int, ...], slices: Slices) -> list[str]:
    """What is unusual about the pictures of a scan, by number, and what was done about it."""
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
    return [
        f"{_count(len(numbers), 'slice')} {what} ({_in_words(_runs(numbers))})" for numbers, what in unusual if numbers
    ]


def _decode_all(
    files: list[str], threads: int, zero: int | None
) -> tuple[NDArray[np.uint8], list[Picture | None]] | None:
    """The voxels of the pictures that can be decoded, at the commonest size, and what each file was.

    The first picture's size is tried first: it is the commonest in nearly every scan, and to look at every header
    beforehand would be to read every file twice.
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


def numbered_slices(folder: Path, slices: Slices) -> tuple[dict[int, str], list[str], int]:
    """The slices' files by number, in ascending order; what was noted on the way; how many their positions lack.

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
    if positions := _positions(folder, files):
        return _by_position(folder, positions)
    numbered, doubled = _by_number(folder, files)
    if not numbered:
        raise ScanError(f"no slice in {folder} has a number in its name ({files[0]}): their order is not known")
    ignored = len(files) - len(numbered) - len(doubled)
    notes = [f"{_count(ignored, 'image')} without a number ignored"] if ignored else []
    if doubled:
        notes.append(f"{_count(len(doubled), 'copy', 'copies')} of slices left out ({_in_words(_runs(set(doubled)))})")
    return {number: os.path.join(folder, file) for number, file in sorted(numbered.items())}, notes, 0  # noqa: PTH118


def _by_number(folder: Path, files: Sequence[str]) -> tuple[dict[int, str], list[int]]:
    """The slices' files by number, and the number of each further copy of a slice: of the same name and bytes.

    Raises:
        ScanError: two different slices have one number.
    """
    numbered: dict[int, str] = {}
    doubled = []
    for file in sorted(files, key=lambda file: (_is_copy(file, files), file)):
        number = number_of(_without_mark(file) if _is_copy(file, files) else file)
        if number is None:
            continue
        other = numbered.setdefault(number, file)
        if other == file:
            continue
        if _name_of(other, files) != _name_of(file, files) or not _are_same(folder / other, folder / file):
            raise ScanError(
                f"{folder} holds two slices numbered {number} ({other}, {file}): "
                "put each series into a folder of its own"
            )
        doubled.append(number)
    return numbered, doubled


def _is_copy(file: str, files: Sequence[str]) -> bool:
    """Whether a name is that of a second copy of a numbered slice that is there, too."""
    first = _without_mark(file)
    return first != file and first in files and number_of(first) is not None


def _without_mark(file: str) -> str:
    stem, dot, suffix = file.rpartition(".")
    return _COPY.sub("", stem) + dot + suffix


def _name_of(file: str, files: Sequence[str]) -> str:
    """A slice's name without its suffix, the mark of a copy, and zeros before numbers: `007 (1).JPG` is `7`."""
    stem = (_without_mark(file) if _is_copy(file, files) else file).rpartition(".")[0]
    return _DIGITS.sub(lambda digits: str(int(digits[0])), stem.casefold())


def _are_same(file: Path, other: Path) -> bool:
    try:
        return file.stat().st_size == other.stat().st_size and file.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _positions(folder: Path, files: Sequence[str]) -> dict[str, Decimal]:
    """The position that each name ends with, if the names hold positions: ct_1.37.jpg, ct_2.62.jpg. Else empty.

    A number with one point may also be a series and a number in it. It is if all names have the same first part.

    Raises:
        ScanError: it may be either.
    """
    found = {file: match for file in files if (match := _POSITION.search(file.rpartition(".")[0]))}
    series: dict[str, list[int]] = {}
    for match in found.values():
        if match[2]:
            series.setdefault(match[1], []).append(int(match[2]))
    if len(found) < len(files) or len(series) < 2:
        return {}
    if any(
        len(numbers) > 1 and sorted(numbers) in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))
        for numbers in series.values()
    ):
        raise ScanError(
            f"the names of the slices in {folder} may be positions or series and numbers ({files[0]}): rename them "
            "1.jpg, 2.jpg, … in their order, one series to a folder"
        )
    return {file: Decimal(match[1] + (f".{match[2]}" if match[2] else "")) for file, match in found.items()}


def _by_position(folder: Path, positions: dict[str, Decimal]) -> tuple[dict[int, str], list[str], int]:
    """The slices' files numbered from 1 in order of position; notes (the order, the gaps); how many are missing."""
    ordered = sorted(positions, key=lambda file: positions[file])
    for file, other in pairwise(ordered):
        if positions[file] == positions[other]:
            raise ScanError(
                f"{folder} holds two slices at position {positions[file]} ({file}, {other}): "
                "put each series into a folder of its own"
            )
    places = [positions[file] for file in ordered]
    notes = [f"slices ordered by the positions in their names ({places[0]} to {places[-1]})"]
    apart = sorted(after - before for before, after in pairwise(places))
    step = apart[len(apart) // 2]
    gaps = [(before, after, round((after - before) / step) - 1) for before, after in pairwise(places)]
    if missing := sum(lacking for *_, lacking in gaps if lacking > 0):
        where = ", ".join(f"between {before} and {after}" for before, after, lacking in gaps if lacking > 0)
        notes.append(f"{_count(missing, 'slice')} missing ({where})")
    files = {number: os.path.join(folder, file) for number, file in enumerate(ordered, start=1)}  # noqa: PTH118
    return files, notes, missing


def _missing(numbers: Sequence[int]) -> tuple[int, list[str]]:
    """How many numbers an otherwise even sequence lacks, and where: 1, 2, 4 lacks 3; 1, 3, 5 lacks none."""
    if len(numbers) < 3:
        return 0, []
    steps = Counter(after - before for before, after in pairwise(numbers))
    step = min(steps, key=lambda candidate: (-steps[candidate], candidate))
    count, gaps = 0, []
    for before, after in pairwise(numbers):
        lacking = (2 * (after - before) + step) // (2 * step) - 1  # to the nearest: numbers may be uneven
        if lacking > 0:
            count += lacking
            even = (after - before) % step == 0
            gaps.append(_in_words([(before + step, after - step)]) if even else f"between {before} and {after}")
    return count, gaps


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers (first, last), ascending: 1–3 and 7 for 7, 1, 2, 3."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _in_words(runs: Iterable[tuple[int, int]]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


_SLICES = Slices(JPEG, (".jpg", ".jpeg"))


def read(folder: Path, threads: int) -> Volume:
    """Read a folder of JPEG slices; see `read_slices`."""
    return read_slices(folder, threads, _SLICES)


FORMAT = Format("JPEG slices", read, slice_suffixes=_SLICES.suffixes)
