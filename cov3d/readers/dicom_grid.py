"""A stack of DICOM slices → an even grid: copies dropped, gaps found, uneven spacing and gantry tilt undone.

Missing slices are left out and noted, as in a folder of JPEG slices; they are not made up. If the distances are uneven
throughout, the volume is resampled to the usual distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GAP = 1.5
"""A distance of more than this many usual ones is a gap."""
_FEW_GAPS = 0.2
"""Up to this share of the distances may be gaps; more are uneven spacing."""
_WHOLE = 0.25
"""A gap differs by at most this share of the usual distance from a multiple of it."""
_UNEVEN = 0.5
"""Slices that lie further than this share of the usual distance from an even grid are resampled."""
_SHEARED = 1.0
"""Pixels. Slices with smaller offsets are not sheared back."""


@dataclass(frozen=True)
class Spaced:
    """The spacing of the slices of a stack.

    Attributes:
        step: mm between slices.
        missing: number of missing slices.
        where: the gaps, in mm along the stack.
        targets: places (mm) to resample to; empty if the volume need not be resampled.
    """

    step: float
    missing: int = 0
    where: tuple[tuple[float, float], ...] = ()
    targets: tuple[float, ...] = ()


def spacing_of(places: NDArray[np.float64]) -> Spaced:
    """The spacing of slices at different places (mm), in ascending order."""
    apart = np.diff(places)
    usual = float(np.median(apart))
    regular = apart[np.abs(apart - usual) <= _WHOLE * usual]
    usual = float(regular.mean()) if len(regular) else usual
    multiples = np.maximum(np.rint(apart / usual), 1)
    gaps = apart > _GAP * usual
    at_whole = np.abs(apart - multiples * usual) <= _WHOLE * usual
    if at_whole.all() and gaps.sum() <= max(1, _FEW_GAPS * len(apart)):
        numbers = np.concatenate([[0], np.cumsum(multiples)])
        step = float(np.ptp(places) / numbers[-1])
        if np.abs(places - places[0] - numbers * step).max() <= _UNEVEN * step:
            where = tuple((float(places[i]), float(places[i + 1])) for i in np.flatnonzero(gaps))
            return Spaced(step, int((multiples - 1).sum()), where)
    even = places[0] + np.arange(len(places)) * np.ptp(places) / (len(places) - 1)
    step = float(np.ptp(places) / (len(places) - 1))
    if np.abs(places - even).max() <= _UNEVEN * step:
        return Spaced(step)
    count = int(np.ptp(places) / usual + 1e-6) + 1
    return Spaced(usual, targets=tuple(float(places[0] + usual * number) for number in range(count)))


def resampled(voxels: NDArray[np.uint8], places: Sequence[float], targets: Sequence[float]) -> NDArray[np.uint8]:
    """Slices at `targets`, interpolated linearly between those at ascending `places`; both in mm."""
    found = np.empty((len(targets), *voxels.shape[1:]), dtype=np.uint8)
    after = np.clip(np.searchsorted(places, targets), 1, len(places) - 1)
    for number, (target, upper) in enumerate(zip(targets, after, strict=True)):
        low, high = places[upper - 1], places[upper]
        share = np.float32(np.clip((target - low) / (high - low), 0, 1))
        found[number] = np.rint(voxels[upper - 1] * (1 - share) + voxels[upper] * share)
    return found


def out_of_line(positions: NDArray[np.float64], row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """The offset of each slice from the line through the middle slice along the normal, mm, (down, right).

    A gantry tilt moves slices steadily along their columns. The elements of the tilt are often wrong, so the positions
    are used.
    """
    offsets = positions - positions[len(positions) // 2]
    return np.stack([offsets @ column, offsets @ row], axis=1)


def sheared_back(voxels: NDArray[np.uint8], offsets: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Slices moved into line, in a plane large enough for all of them.

    Args:
        voxels: slices (depth, rows, columns).
        offsets: offset of each slice from the line in pixels, (down, right).
    """
    before = np.ceil(np.maximum(-offsets.min(axis=0), 0)).astype(int)
    after = np.ceil(np.maximum(offsets.max(axis=0), 0)).astype(int)
    depth, rows, columns = voxels.shape
    found = np.zeros((depth, rows + before[0] + after[0], columns + before[1] + after[1]), dtype=np.uint8)
    for plane, into, offset in zip(voxels, found, offsets, strict=True):
        into[...] = _moved(
            _moved(plane, into.shape[0], offset[0] + before[0], 0), into.shape[1], offset[1] + before[1], 1
        )
    return found


def is_sheared(offsets: NDArray[np.float64]) -> bool:
    """Whether offsets in pixels are large enough to be corrected."""
    return bool(np.ptp(offsets, axis=0).max() > _SHEARED)


def _moved(plane: NDArray, length: int, by: float, axis: int) -> NDArray:
    """A plane moved along an axis by a number of pixels (0 or more, any fraction) and padded with 0 to `length`."""
    plane = np.moveaxis(plane, axis, 0)
    whole, share = int(np.floor(by)), np.float32(by - np.floor(by))
    wide = np.zeros((length + 1, plane.shape[1]), dtype=np.float32)
    wide[whole : whole + len(plane)] += (1 - share) * plane
    wide[whole + 1 : whole + 1 + len(plane)] += share * plane[: length - whole]
    return np.moveaxis(np.rint(wide[:length]), 0, axis).astype(np.uint8)
