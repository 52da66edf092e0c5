"""A folder of JPEG slices → Volume.

Slices sort by the number in their name, never by text. What can't be decoded is left out and noted: a slice is
never made up from its neighbours, so every voxel of a volume was measured.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from cov3d.errors import ScanError
from cov3d.volume import Volume

_SUFFIXES = (".jpg", ".jpeg")
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises


def is_slice(name: str) -> bool:
    """Whether a file of this name is a slice: a JPEG that is not hidden (`._1.jpg` is a Mac's shadow of one)."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def read_jpeg_folder(folder: Path) -> Volume:
    """Read a folder of JPEG slices.

    Colour is reduced to grey. Slices of another size than most are resized to it. Both the slices that can't be
    decoded and the numbers that are missing are left out and stand in the volume's notes.

    Raises:
        ScanError: no slices, no numbers in their names, two slices of one number, or more than half unreadable.
    """
    numbered, notes = _numbered_slices(folder)
    sizes, unreadable = _sizes(numbered)
    if not sizes:
        raise ScanError(f"none of the {len(numbered)} slices in {folder} can be read as JPEG: copy the scan again")
    size = Counter(sizes.values()).most_common(1)[0][0]

    voxels = np.empty((len(sizes), size[1], size[0]), dtype=np.uint8)
    used: list[int] = []
    for number in sizes:
        try:
            voxels[len(used)] = _decode(numbered[number], size)
        except _DECODE_ERRORS:
            unreadable.append(number)
        else:
            used.append(number)
    if len(used) * 2 < len(numbered):
        raise ScanError(
            f"{len(unreadable)} of the {len(numbered)} slices in {folder} can't be read as JPEG: copy the scan again"
        )

    if unreadable:
        notes.append(f"{_count(len(unreadable), 'unreadable slice')} left out ({_in_words(_runs(unreadable))})")
    missing, runs = _missing(list(numbered))
    if missing > len(numbered):
        notes.append(f"slice numbers are far apart ({min(numbered)} to {max(numbered)}): are they one series?")
    elif missing:
        notes.append(f"{_count(missing, 'slice')} missing ({_in_words(runs)})")
    if odd := [number for number in used if sizes[number] != size]:
        notes.append(f"{_count(len(odd), 'slice')} resized to {size[0]}x{size[1]} ({_in_words(_runs(odd))})")
    return Volume(voxels=voxels[: len(used)], path=folder, slices_found=len(numbered), notes=tuple(notes))


def _numbered_slices(folder: Path) -> tuple[dict[int, Path], list[str]]:
    """The slices by number, in ascending order, and what was noted on the way."""
    try:
        files = sorted(path for path in folder.iterdir() if is_slice(path.name) and path.is_file())
    except OSError as error:
        raise ScanError(f"the scan folder {folder} can't be listed: {error.strerror}") from error
    if not files:
        raise ScanError(f"no JPEG slices (1.jpg, 2.jpg, …) in {folder}")
    numbered: dict[int, Path] = {}
    for file in files:
        # The last run of digits is the slice number: 7.jpg, slice_007.jpg, CT12_slice7.jpg.
        digits = re.findall(r"\d+", file.stem)
        if not digits:
            continue
        other = numbered.setdefault(int(digits[-1]), file)
        if other != file:
            raise ScanError(
                f"{folder} holds two slices numbered {int(digits[-1])} ({other.name}, {file.name}): "
                "put each series into a folder of its own"
            )
    if not numbered:
        raise ScanError(f"no slice in {folder} has a number in its name ({files[0].name}): their order is not known")
    ignored = len(files) - len(numbered)
    notes = [f"{_count(ignored, 'image')} without a number ignored"] if ignored else []
    return dict(sorted(numbered.items())), notes


def _sizes(numbered: dict[int, Path]) -> tuple[dict[int, tuple[int, int]], list[int]]:
    """Width and height by slice number, from the headers alone, and the slices without a readable one."""
    sizes: dict[int, tuple[int, int]] = {}
    unreadable: list[int] = []
    for number, file in numbered.items():
        try:
            with Image.open(file) as image:
                sizes[number] = image.size
        except _DECODE_ERRORS:
            unreadable.append(number)
    return sizes, unreadable


def _decode(file: Path, size: tuple[int, int]) -> np.ndarray:
    with Image.open(file) as image:
        grey = image.convert("L")
    if grey.size != size:
        grey = grey.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(grey)


def _missing(numbers: Sequence[int]) -> tuple[int, list[tuple[int, int]]]:
    """How many numbers an otherwise even sequence lacks, and their runs: 1, 2, 4 lacks 3; 1, 3, 5 lacks none."""
    if len(numbers) < 3:
        return 0, []
    steps = Counter(after - before for before, after in pairwise(numbers))
    step = min(steps, key=lambda candidate: (-steps[candidate], candidate))
    gaps = [(before, after) for before, after in pairwise(numbers) if after - before > step]
    count = sum((after - before - 1) // step for before, after in gaps)
    return count, [(before + step, after - step) for before, after in gaps]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


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
