"""The order of the slices in a folder, by their names.

Slices sort by the number in their name, never by text. Names that end with positions in millimetres sort by position.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.words import counted, in_ranges

_DIGITS = re.compile(r"\d+")
_POSITION = re.compile(r"(?<![\d.])(\d+)(?:\.(\d+))?$")
"""A number at the end of a name, with one decimal point at most: a UID has more."""
_COPY = re.compile(r"(?: ?\(\d+\)|[ _-]+copy(?: ?\(?\d+\)?)?)$", re.IGNORECASE)
"""What file managers add to the name of a second copy: `12 (1)`, `12 - Copy`."""


@dataclass(frozen=True)
class SliceOrder:
    """The slices of a folder in their order.

    Attributes:
        files: paths of the slices by number, ascending.
        notes: images without a number, copies, and how slices without plain numbers were ordered.
        missing: number of slices that are missing by the positions in their names.
    """

    files: dict[int, str]
    notes: tuple[str, ...] = ()
    missing: int = 0


def number_of(name: str) -> int | None:
    """The last number in the name of a slice: 7 for 7.jpg, slice_007.jpg and CT12_slice7.jpg. None without a number."""
    digits = _DIGITS.findall(name.rpartition(".")[0])
    return int(digits[-1]) if digits else None


def ordered_slices(folder: Path, files: Sequence[str]) -> SliceOrder:
    """The order of the slices `files` in a folder.

    Raises:
        ScanError: they have no numbers, two different slices have one number, or their order is ambiguous.
    """
    if positions := _positions(folder, files):
        return _by_position(folder, positions)
    numbered, doubled = _by_number(folder, files)
    if not numbered:
        raise ScanError(f"no slice in {folder} has a number in its name ({files[0]}): their order is not known")
    ignored = len(files) - len(numbered) - len(doubled)
    notes = [f"{counted(ignored, 'image')} without a number ignored"] if ignored else []
    if doubled:
        notes.append(f"{counted(len(doubled), 'copy', 'copies')} of slices left out ({in_ranges(set(doubled))})")
    return SliceOrder(
        {number: os.path.join(folder, file) for number, file in sorted(numbered.items())},  # noqa: PTH118
        tuple(notes),
    )


def missing_numbers(numbers: Sequence[int]) -> tuple[int, list[str]]:
    """How many numbers are missing from an otherwise even sequence, and where.

    One number, 3, is missing from 1, 2, 4; none is missing from 1, 3, 5.
    """
    if len(numbers) < 3:
        return 0, []
    steps = Counter(after - before for before, after in pairwise(numbers))
    step = min(steps, key=lambda candidate: (-steps[candidate], candidate))
    count, gaps = 0, []
    for before, after in pairwise(numbers):
        missing = (2 * (after - before) + step) // (2 * step) - 1  # to the nearest: numbers may be uneven
        if missing > 0:
            count += missing
            first, last = before + step, after - step
            even = (after - before) % step == 0
            gaps.append(
                (str(first) if first == last else f"{first}-{last}") if even else f"between {before} and {after}"
            )
    return count, gaps


def _by_number(folder: Path, files: Sequence[str]) -> tuple[dict[int, str], list[int]]:
    """The slices by number, and the numbers of copies that are left out: files of the same name and bytes.

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
        if _plain_name(other, files) != _plain_name(file, files) or not _are_same(folder / other, folder / file):
            raise ScanError(
                f"{folder} holds two slices numbered {number} ({other}, {file}): "
                "put each series into a folder of its own"
            )
        doubled.append(number)
    return numbered, doubled


def _is_copy(file: str, files: Sequence[str]) -> bool:
    """Whether a name marks a second copy of a numbered slice that is also in the folder."""
    first = _without_mark(file)
    return first != file and first in files and number_of(first) is not None


def _without_mark(file: str) -> str:
    stem, dot, suffix = file.rpartition(".")
    return _COPY.sub("", stem) + dot + suffix


def _plain_name(file: str, files: Sequence[str]) -> str:
    """The name of a slice without suffix, mark of a copy, or zeros before numbers: `7` for `007 (1).JPG`."""
    stem = (_without_mark(file) if _is_copy(file, files) else file).rpartition(".")[0]
    return _DIGITS.sub(lambda digits: str(int(digits[0])), stem.casefold())


def _are_same(file: Path, other: Path) -> bool:
    try:
        return file.stat().st_size == other.stat().st_size and file.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _positions(folder: Path, files: Sequence[str]) -> dict[str, Decimal]:
    """The position at the end of each name, as in ct_1.37.jpg, ct_2.62.jpg. Empty where names hold no positions.

    A number with one point may also be a series and a number in it. It is if all names have the same first part.

    Raises:
        ScanError: the names may be either.
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


def _by_position(folder: Path, positions: dict[str, Decimal]) -> SliceOrder:
    """The slices numbered from 1 in the order of their positions."""
    ordered = sorted(positions, key=lambda file: positions[file])
    for file, other in pairwise(ordered):
        if positions[file] == positions[other]:
            raise ScanError(
                f"{folder} holds two slices at position {positions[file]} ({file}, {other}): "
                "put each series into a folder of its own"
            )
    places = [positions[file] for file in ordered]
    notes = [f"slices ordered by the positions in their names ({places[0]} to {places[-1]})"]
    distances = sorted(after - before for before, after in pairwise(places))
    step = distances[len(distances) // 2]
    gaps = [(before, after, round((after - before) / step) - 1) for before, after in pairwise(places)]
    if missing := sum(lacking for *_, lacking in gaps if lacking > 0):
        where = ", ".join(f"between {before} and {after}" for before, after, lacking in gaps if lacking > 0)
        notes.append(f"{counted(missing, 'slice')} missing ({where})")
    files = {number: os.path.join(folder, file) for number, file in enumerate(ordered, start=1)}  # noqa: PTH118
    return SliceOrder(files, tuple(notes), missing)
