"""The six lung zones of a crop: upper, middle and lower third of the right and of the left lung.

The thirds divide the height of the lungs equally. The sides meet at the middle of the body. The masks are those of the
reduced grid, so that a zone's border is accurate to about 3 mm. What a lung encloses or nearly encloses in a slice
belongs to it: consolidated lung is as dense as tissue, and would otherwise not be in the mask.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.lungs import Segmentation, middle_column

ZONES = ("right upper", "right middle", "right lower", "left upper", "left middle", "left lower")
"""Names of the zones. Zone `n` of a mask is `ZONES[n - 1]`."""

_GAP = 4
"""Cells: gaps in a lung's outline up to twice as wide are closed."""

RIGHT, LEFT = (1, 2, 3), (4, 5, 6)
"""The zones of each lung."""


def lung_zones(segmentation: Segmentation, box: Box, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The zone of each voxel of a network's input.

    Args:
        segmentation: of the scan.
        box: the crop, which was resized to the input.
        shape: of the input (depth, height, width).

    Returns:
        `uint8`, shape `shape`: 0 outside the lungs, else the zone from 1 to 6.
    """
    zones = np.zeros(segmentation.lungs.shape, dtype=np.uint8)
    slices = np.flatnonzero(segmentation.lungs.any(axis=(1, 2)))
    if not len(slices):
        return np.zeros(shape, dtype=np.uint8)
    edges = np.linspace(slices[0], slices[-1] + 1, 4)
    middle = middle_column(segmentation.lungs, segmentation.body)
    inside = np.zeros_like(segmentation.lungs)
    for side in (slice(None, middle), slice(middle, None)):
        for number in slices:
            inside[number, :, side] = _filled(segmentation.lungs[number, :, side])
    for third, (top, bottom) in enumerate(pairwise(edges)):
        deep = slice(round(top), round(bottom))
        zones[deep, :, :middle], zones[deep, :, middle:] = RIGHT[third], LEFT[third]
    zones[~inside] = 0
    grid = segmentation.grid
    for axis, (first, last) in enumerate(box.bounds):
        places = first + (np.arange(shape[axis]) + 0.5) * (last - first) / shape[axis]
        cells = np.floor((places - grid.origin[axis]) / grid.step[axis]).astype(np.intp)
        within = (cells >= 0) & (cells < zones.shape[axis])
        zones = zones.take(np.clip(cells, 0, zones.shape[axis] - 1), axis=axis)
        zones[(slice(None),) * axis + (~within,)] = 0
    return np.ascontiguousarray(zones)


def _filled(lung: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One lung in one slice, with what it encloses or nearly encloses."""
    from scipy import ndimage

    reach = np.hypot(*np.mgrid[-_GAP : _GAP + 1, -_GAP : _GAP + 1]) <= _GAP
    padded = np.pad(lung, _GAP)
    closed = ndimage.binary_closing(padded, reach)[_GAP:-_GAP, _GAP:-_GAP]
    return ndimage.binary_fill_holes(closed | lung)
