"""The slices of a DICOM series → grey levels, in threads."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import units
from cov3d.readers.dicom_pixels import Bytes, stored_values
from cov3d.readers.dicom_signs import padding_of
from cov3d.readers.dicom_slice import Slice
from cov3d.readers.grey import MOST_KEPT, Levels, stack_to_grey
from cov3d.readers.threads import BLOCK, in_blocks

_PADDING_IS_AIR = -900.0
"""HU. Padding below this value looks like air already."""


def decoded(
    path: Path, slices: Sequence[Slice], frames: Mapping[Path, Sequence[Bytes]], threads: int
) -> tuple[NDArray[np.uint8], list[int], tuple[str, ...]]:
    """Grey levels (`uint8`, (slices, rows, columns)) of the readable slices, the indices of these slices, and notes.

    Raises:
        ScanError: more than half of the slices can't be read, there are no pixels or too many for the memory, or the
            values are not Hounsfield units.
    """
    pixels = slices[0].pixels
    if pixels is None:
        raise ScanError(f"{path} holds no pixels: export the series again")
    try:
        # Filled from the end: most series run from the feet to the head, and a volume from the head to the feet. It
        # then needs no copy.
        voxels = np.empty((len(slices), pixels.rows, pixels.columns), dtype=np.uint8)[::-1]
    except (MemoryError, ValueError) as error:
        raise ScanError(f"{path} has more voxels by its headers than memory holds: is it damaged?") from error
    readable: list[int] = []
    at_once = min(BLOCK, max(1, MOST_KEPT // voxels[0].size)) if threads > 1 else 1

    def convert(shift: float) -> Iterator[Levels]:
        def fill(block: slice) -> tuple[list[bool], Levels]:
            return _to_grey(slices[block], frames, shift, voxels[block])

        found = in_blocks(fill, len(slices), threads, at_once)
        readable[:] = np.flatnonzero([is_read for are_read, _ in found for is_read in are_read]).tolist()
        if 2 * len(readable) < len(slices):
            raise ScanError(
                f"{len(slices) - len(readable)} of the {len(slices)} slices of {path} are truncated or damaged: "
                "copy or export the series again"
            )
        return (levels for _, levels in found)

    notes = units.fill(path, convert)
    return (voxels if len(readable) == len(slices) else voxels[readable]), readable, notes


def _to_grey(
    slices: Sequence[Slice], frames: Mapping[Path, Sequence[Bytes]], shift: float, target: NDArray[np.uint8]
) -> tuple[list[bool], Levels]:
    """Fill `target` (slices, rows, columns); which slices can be read, and the statistics of these."""
    stored = [readable_values(one, frames) for one in slices]
    levels = Levels()
    at = 0
    for kind, run in groupby(zip(slices, stored, strict=True), lambda one: _kind(one[0], one[1], shift)):
        alike = list(run)
        planes = [values for _, values in alike if values is not None]
        if kind is not None:
            levels += stack_to_grey(planes, target[at : at + len(planes)], *kind[1])
        at += len(alike)
    return [values is not None for values in stored], levels


def readable_values(one: Slice, frames: Mapping[Path, Sequence[Bytes]]) -> NDArray | None:
    """The stored values of a slice; None if it can't be read."""
    try:
        return stored_values(one, frames)
    except (ValueError, OSError):
        return None


def _kind(
    one: Slice, stored: NDArray | None, shift: float
) -> tuple[np.dtype, tuple[float, float, tuple[float, ...]]] | None:
    """The type of stored values, their slope and intercept, and those to be taken as air; None without values."""
    if stored is None:
        return None
    padding, intercept = padding_of(one), one.intercept - shift
    hides_air = bool(padding) and padding[1] * one.slope + intercept > _PADDING_IS_AIR
    return stored.dtype, (one.slope, intercept, padding if hides_air else ())
