"""Which end of a scan is the head: a scan stored feet first is recognised by its airway and the shape of its lungs.

JPEG slices carry no positions, and some scans are numbered from the feet. Two signs that come about independently
must agree: the windpipe stands in the middle of the slices at the top of the lungs, and the lungs' tops lie near the
body's middle while their bases lie at its sides and back, around liver and stomach.
"""

import numpy as np

from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.morphology import Mask
from cov3d.preprocessing.thorax import across, bounds, is_cut_above

_AIRWAY_END = 0.25
"""Share of the lungs' depth at either end that is searched for the windpipe."""

_AIRWAY_MORE = 0.3
"""At least so much larger a share of the slices must show it at one end than at the other."""

_AIRWAY_WITHIN = 0.1
"""Half-widths of the body from its middle within which the windpipe is looked for."""

_AIRWAY_LEAST = 4
"""Grid voxels of gas there, at least, that count as a windpipe."""

_GAS = 8
"""Grey levels above the level of gas that still count as gas."""

_SPREAD_END = 0.15
"""Share of the lungs' depth at either end over which their distance from the middle is taken."""

_SPREAD_MORE = 0.08
"""The bases must lie this much further out than the tops, in half-widths of the body."""


def is_feet_first(segmentation: Segmentation) -> bool:
    """Whether slice 0 is at the feet; False also where the signs do not agree, or there are no lungs."""
    lungs = segmentation.lungs
    if not lungs.any():
        return False
    extent = bounds(lungs)
    top, bottom = int(extent.first[0]), int(extent.last[0])
    if is_cut_above(lungs):
        return False  # what would be the bases is cut off: bowel gas may pass for a windpipe at the other end
    if _is_cut_at_one_side(lungs[lungs.any(axis=(1, 2))]):
        return False  # the field of view cuts one side off: where the middle is, is not known
    from_middle = np.abs(across(segmentation.body))
    columns = lungs.sum(axis=1, dtype=np.int32)

    def spread(end: slice) -> float:
        return float((columns[end] * from_middle[end]).sum() / columns[end].sum())

    first, last = _ends(top, bottom, _SPREAD_END)
    if spread(first) - spread(last) <= _SPREAD_MORE:
        return False
    # The windpipe is looked for in the lungs' mask too, which at coarse resolution swallows it.
    gas = segmentation.grid.values < segmentation.gas + _GAS + 2 * segmentation.noise
    narrow = (gas & segmentation.body & (from_middle < _AIRWAY_WITHIN)[:, np.newaxis]).sum(axis=(1, 2))
    has_airway = narrow >= _AIRWAY_LEAST
    first, last = _ends(top, bottom, _AIRWAY_END)
    return bool(has_airway[last].mean() - has_airway[first].mean() > _AIRWAY_MORE)


def _is_cut_at_one_side(lungs: Mask) -> bool:
    """Whether lung meets one side of the image, and not the other, in a quarter of its slices or more."""
    meets = [bool(lungs[:, :, column].any(axis=1).mean() > 0.25) for column in (0, -1)]
    return meets[0] != meets[1]


def _ends(top: int, bottom: int, share: float) -> tuple[slice, slice]:
    deep = max(2, round(share * (bottom - top)))
    return slice(top, top + deep), slice(max(top, bottom - deep), bottom)
