"""Erosion and dilation of a mask by squares within its slices.

SciPy's filters give the same masks (a test compares them), but took three fifths of a segmentation: they go value by
value, while a mask joined with itself shifted goes through whole slices at once.
"""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def dilated(mask: Mask, radius: int) -> Mask:
    """True where any of `mask` is within `radius` rows and columns; shape (depth, height, width)."""
    out = mask
    for axis in (1, 2):
        out = _joined(out, radius, axis)
    return out


def eroded(mask: Mask, radius: int) -> Mask:
    """True where all of `mask` is within `radius` rows and columns; what lies beyond the border counts as True."""
    return ~dilated(~mask, radius)


def _joined(mask: Mask, radius: int, axis: int) -> Mask:
    """`mask` or any of its neighbours along `axis`; steps double, as long as they leave no gap."""
    length = mask.shape[axis]
    reach, radius = 0, min(radius, length - 1)
    while reach < radius:
        step = min(reach + 1, radius - reach)
        before = (slice(None),) * axis + (slice(None, length - step),)
        after = (slice(None),) * axis + (slice(step, None),)
        out = mask.copy()
        out[after] |= mask[before]
        out[before] |= mask[after]
        mask = out
        reach += step
    return mask
