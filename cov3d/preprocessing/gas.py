"""The grey level of gas in a scan, and its noise."""

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.morphology import Mask
from cov3d.volume import hounsfield_to_grey

_GAS = -1000.0
"""Assumed level of gas (HU) if no air around the body is visible, unless the scan contains darker air."""

_BRIGHTEST_AIR = -890.0
"""Air around the body is at most this bright (HU). Brighter voxels are foam, blankets, or lung in a small field of
view."""

_ENOUGH = 200
"""Minimum number of grid voxels of air around the body to measure gas."""

_DARK_ENOUGH = 0.3
"""If a smaller share of the outside is as dark as air, it is lung in a field of view within the chest."""

_PEAK = 0.1
"""Minimum height of a peak, as a share of the highest peak."""


def measure_gas(values: NDArray[np.float32], outside: Mask, air: Mask) -> tuple[float, float]:
    """The level of gas and the standard deviation of its noise, in grey levels.

    Gas is the lowest peak in the levels of the air around the body. Foam and blankets make higher peaks.

    Args:
        values: float32 (depth, height, width), grey levels of the grid.
        outside: bool, same shape: air around the body.
        air: bool, same shape: all air. Its darkest voxels are airways. They are used if there is little air outside.
    """
    found = values[outside & (values < hounsfield_to_grey(_BRIGHTEST_AIR))]
    if found.size < max(_ENOUGH, _DARK_ENOUGH * np.count_nonzero(outside)):
        inside = values[air]
        darkest = float(np.percentile(inside, 2)) if inside.size else np.inf
        return min(darkest, hounsfield_to_grey(_GAS)), 1.0
    counts = np.bincount((2 * found).astype(np.intp), minlength=4).astype(np.float64)  # in half grey levels
    counts = np.convolve(counts, np.bartlett(11)[1:-1], mode="same")
    high = counts >= _PEAK * counts.max()
    rising = np.diff(counts, prepend=0) > 0
    falling = np.diff(counts, append=0) <= 0
    peak = (int(np.flatnonzero(high & rising & falling)[0]) + 0.5) / 2
    below = peak - found[found <= peak]
    return peak, float(np.sqrt(np.mean(np.square(below, dtype=np.float64)))) if below.size else 1.0
