"""Detect scans that are stored feet first, by the trachea and the shape of the lungs.

JPEG slices have no positions, and some scans are numbered from the feet. Two independent signs must agree: the trachea
is in the middle of the slices at the top of the lungs, and the tops of the lungs are near the body's middle, while
their bases are at its sides and back, around liver and stomach.
"""

import numpy as np

from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.morphology import Mask
from cov3d.preprocessing.thorax import across, bounds, is_cut_above

_AIRWAY_END = 0.25
"""Share of the lungs' depth at each end that is searched for the trachea."""

_AIRWAY_MORE = 0.3
"""Minimum difference between both ends in the share of slices that show it."""

_AIRWAY_WITHIN = 0.1
"""Maximum distance of the trachea from the body's middle, in half-widths of the body."""

_AIRWAY_LEAST = 4
"""Minimum number of grid voxels of gas that count as a trachea."""

_GAS = 8
"""Grey levels above the level of gas that still count as gas."""

_SPREAD_END = 0.15
"""Share of the lungs' depth at each end over which their distance from the middle is measured."""

_SPREAD_MORE = 0.08
"""The bases must be at least this much further from the middle than the tops, in half-widths of the body."""


def is_feet_first(segmentation: Segmentation) -> bool:
    """Whether slice 0 is at the feet; False also if the signs disagree or there are no lungs."""
    lungs = segmentation.lungs
    if not lungs.any():
        return False
    extent = bounds(lungs)
    top, bottom = int(extent.first[0]), int(extent.last[0])
    if is_cut_above(lungs):
        return False  # the possible bases are cut off, and bowel gas at the other end may look like a trachea
    if _is_cut_at_one_side(lungs[lungs.any(axis=(1, 2))]):
        return False  # the field of view cuts one side off, so the middle is unknown
    from_middle = np.abs(across(segmentation.body))
    columns = lungs.sum(axis=1, dtype=np.int32)

    def spread(end: slice) -> float:
        return float((columns[end] * from_middle[end]).sum() / columns[end].sum())

    first, last = _ends(top, bottom, _SPREAD_END)
    if spread(first) - spread(last) <= _SPREAD_MORE:
        return False
    # Search the lungs' mask too: at coarse resolution it includes the trachea.
    gas = segmentation.grid.values < segmentation.gas + _GAS + 2 * segmentation.noise
    narrow = (gas & segmentation.body & (from_middle < _AIRWAY_WITHIN)[:, np.newaxis]).sum(axis=(1, 2))
    has_airway = narrow >= _AIRWAY_LEAST
    first, last = _ends(top, bottom, _AIRWAY_END)
    return bool(has_airway[last].mean() - has_airway[first].mean() > _AIRWAY_MORE)


def _is_cut_at_one_side(lungs: Mask) -> bool:
    """Whether lung touches exactly one side of the image in at least a quarter of its slices."""
    meets = [bool(lungs[:, :, column].any(axis=1).mean() > 0.25) for column in (0, -1)]
    return meets[0] != meets[1]


def _ends(top: int, bottom: int, share: float) -> tuple[slice, slice]:
    deep = max(2, round(share * (bottom - top)))
    return slice(top, top + deep), slice(max(top, bottom - deep), bottom)
