"""The check that the values of a volume are Hounsfield units, and the correction of those that are shifted.

A file may hold values that are shifted by 1000 or 1024, or that were never rescaled. Soft tissue shows that values are
shifted: little of it lies at 0 HU, and much of it about 1000 from there. Air shows by how much. The smallest value does
not help, because padding may have any value. Padding is a spike in the counts, and spikes are removed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.grey import BINS, LOWEST, Levels

_LEAST_SHARE = 0.001
"""At least this share of the voxels of a CT is gas, and at least this share is tissue."""
_GAS, _TISSUE = (-1147, -300), (-200, 348)
"""HU, without the levels at the edges of the window, at which padding and clipped values may lie."""
_STEP = 20
_SOFT_TISSUE = (-200, 200)
_AIR = (-1100, -860)
_SHIFTS = (1000, 1024)
_SHIFT = 1012
"""Between the two."""
_MUCH = 0.04
"""A peak of soft tissue or air holds at least this share of the voxels."""
_NEAR_AIR = 10
"""HU. Air outside and inside the body is nearer than this to -1000 in a calibrated scanner; 24 lie between shifts."""
_SOME_AIR = 0.02
"""A peak of air holds at least this share of the voxels, within `_WIDTH` of its value."""
_WIDTH = 8
_FILLED = 0.4
"""If a smaller share of the values around air occurs, they are too coarse to distinguish the shifts."""
_BESIDE, _FALLS = 80, 0.6
"""A peak of air falls below this share of its height within so many HU on both sides."""


def fill(file: Path, convert: Callable[[float], Iterable[Levels]]) -> tuple[str, ...]:
    """Fill a volume with grey levels; fill it again if its Hounsfield units are shifted.

    Args:
        file: the scan, for errors.
        convert: function that fills the volume, after it subtracts its argument from each value.

    Returns:
        Notes on corrections.

    Raises:
        ScanError: the values are not Hounsfield units, or are shifted by an uncertain amount.
    """
    levels = _total(convert(0.0))
    notes = []
    shift = shift_of(levels, file)
    if shift:
        levels = _total(convert(shift))
        notes.append(f"values {abs(shift):g} too {'high' if shift > 0 else 'low'} for Hounsfield units: corrected")
        if shift_of(levels, file):
            raise ScanError(f"{file} is not in Hounsfield units, nor shifted by a constant: export the scan again")
    gas, tissue = (int(levels.counts[low - LOWEST : high - LOWEST].sum()) for low, high in (_GAS, _TISSUE))
    if min(gas, tissue) < _LEAST_SHARE * levels.counts.sum():
        raise ScanError(
            f"{file} is not in Hounsfield units (values from {levels.lowest:g} to {levels.highest:g}, "
            f"{'no gas' if gas < tissue else 'no tissue'} among them): give the CT as it came from the "
            "scanner, not windowed or rescaled, and keep label maps in a folder named masks"
        )
    if levels.no_number:
        notes.append(f"{levels.no_number} voxels without a number taken as air")
    return tuple(notes)


def shift_of(levels: Levels, file: Path) -> float:
    """The difference between the values and Hounsfield units: 0, or 1000 or 1024 with either sign.

    Raises:
        ScanError: the values are shifted by an uncertain amount.
    """
    counts = _without_spikes(levels.counts)
    sign, found, near = _direction(counts)
    if not sign:
        return 0.0
    air = _lowest_peak(counts, *sorted(sign * shift - 1000 for shift in _SHIFTS))
    for shift in _SHIFTS:
        if air is not None and abs(air - (sign * shift - 1000)) <= _NEAR_AIR:
            return float(sign * shift)
    where = "no peak of air shows by how much" if air is None else f"air lies at {air}"
    raise ScanError(
        f"{file} is not in Hounsfield units: it seems to lie about 1000 too "
        f"{'high' if sign > 0 else 'low'} ({found:.0%} of the voxels are near {near}; {where}): apply the rescale "
        "slope and intercept, or export the scan again"
    )


def is_hounsfield(levels: Levels) -> bool:
    """Whether values are certainly Hounsfield units: much air lies at -1000, and much soft tissue at 0."""
    counts = _without_spikes(levels.counts)
    air = _lowest_peak(counts, -1000, -1000)
    if air is None or abs(air + 1000) > _NEAR_AIR or _direction(counts)[0]:
        return False
    tissue = counts[_SOFT_TISSUE[0] - LOWEST : _SOFT_TISSUE[1] - LOWEST].sum()
    return bool(tissue >= _MUCH * max(counts.sum(), 1))


def _total(parts: Iterable[Levels]) -> Levels:
    total = Levels()
    for part in parts:
        total += part
    return total


def _without_spikes(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The counts without spikes, such as padding and clipped values."""
    spread = counts.astype(np.float64)
    spread[[0, -1]] = 0
    around = np.convolve(spread, np.ones(2 * _WIDTH + 1), "same") - spread
    spread[spread > around / 2] = 0
    return spread


def _direction(counts: NDArray[np.float64]) -> tuple[int, float, int]:
    """Whether the values are too high (1), too low (-1) or neither (0); the share of voxels that shows it; where."""
    steps = counts[: BINS // _STEP * _STEP].reshape(-1, _STEP).sum(axis=1)
    alone = steps[1:-1] > 20 * np.maximum(steps[:-2], steps[2:])
    steps[1:-1][alone] = 0
    total = max(float(steps.sum()), 1.0)

    def share(first: int, last: int) -> float:
        return float(steps[round((first - LOWEST) / _STEP) : round((last - LOWEST) / _STEP)].sum()) / total

    here, above = share(*_SOFT_TISSUE), share(*(edge + _SHIFT for edge in _SOFT_TISSUE))
    air_below, below = share(*(edge - _SHIFT for edge in _AIR)), share(*(edge - _SHIFT for edge in _SOFT_TISSUE))
    body = share(_AIR[1], 1000)
    # The denser bone is, the rarer it is. Shifted soft tissue is a peak above a gap between lung and fat.
    if above >= _MUCH and above > share(_SOFT_TISSUE[1] + 100, _SHIFT + _SOFT_TISSUE[0]):
        return 1, above, _SHIFT
    if air_below >= _MUCH and here < _MUCH:
        return -1, air_below, _AIR[0] - _SHIFT + 120
    # Without air around the body: little lies at 0 HU, where soft tissue should be, and the rest is bone.
    if below >= _MUCH and here < min(_MUCH, body / 4):
        return -1, below, -_SHIFT
    return 0, 0.0, 0


def _lowest_peak(counts: NDArray[np.float64], first: int, last: int) -> int | None:
    """The lowest value, from 40 below `first` to 40 above `last`, around which much of the air there lies."""
    smooth = np.convolve(counts, np.ones(2 * _WIDTH + 1), "same")
    start = first - 40 - LOWEST
    part = smooth[start : last + 41 - LOWEST]
    around_air = counts[start : last + 41 - LOWEST]
    if part.max() < _SOME_AIR * max(counts.sum(), 1) or np.count_nonzero(around_air) < _FILLED * len(part):
        return None
    for place in range(1, len(part) - 1):
        around = part[max(0, place - _WIDTH) : place + _WIDTH + 1]
        if part[place] == around.max() and part[place] >= part.max() / 3:
            at = start + place
            sides = smooth[max(0, at - _BESIDE) : at], smooth[at + 1 : at + 1 + _BESIDE]
            is_peak = all(side.size and side.min() < _FALLS * part[place] for side in sides)
            return at + LOWEST if is_peak else None
    return None
