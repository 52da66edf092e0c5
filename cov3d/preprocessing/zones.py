"""The six lung zones of a crop: upper, middle and lower third of the right and of the left lung.

The thirds divide the height of the lungs equally. The sides meet at the middle of the body. The masks are those of the
reduced grid, so that a zone's border is accurate to about 3 mm.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.lungs import Segmentation, middle_column

ZONES = ("right upper", "right middle", "right lower", "left upper", "left middle", "left lower")
"""Names of the zones. Zone `n` of a mask is `ZONES[n - 1]`."""

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
    for third, (top, bottom) in enumerate(pairwise(edges)):
        deep = slice(round(top), round(bottom))
        zones[deep, :, :middle], zones[deep, :, middle:] = RIGHT[third], LEFT[third]
    zones[~segmentation.lungs] = 0
    grid = segmentation.grid
    for axis, (first, last) in enumerate(box.bounds):
        places = first + (np.arange(shape[axis]) + 0.5) * (last - first) / shape[axis]
        cells = np.floor((places - grid.origin[axis]) / grid.step[axis]).astype(np.intp)
        inside = (cells >= 0) & (cells < zones.shape[axis])
        zones = zones.take(np.clip(cells, 0, zones.shape[axis] - 1), axis=axis)
        zones[(slice(None),) * axis + (~inside,)] = 0
    return np.ascontiguousarray(zones)
