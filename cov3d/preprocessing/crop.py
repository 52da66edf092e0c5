"""Segmentation → the box that the volume is cropped to."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

import numpy as np

from cov3d.preprocessing.grid import Grid
from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.thorax import Extent, bounds, reach

CropKind = Literal["lungs", "fallback", "override"]

MARGIN = 1
"""Grid voxels added around the lungs, because the reduced grid can't resolve less."""

BASE_MARGIN = 0.02
"""Share of the lungs' depth added below them: the deepest recess is thinner than a grid voxel."""

THICK = 60
"""Scans with fewer slices have thick slices: a part of a slice is enough margin."""

LEAST_LUNG_SHARE = 0.02
"""A smaller share of lung in the body counts as a mistake, such as bowel gas or a scan of another part of the body."""


@dataclass(frozen=True)
class Box:
    """A half-open box, in voxels of the canonical volume."""

    z0: int
    z1: int
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def bounds(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """First voxel and the one after the last, along (depth, height, width)."""
        return (self.z0, self.z1), (self.y0, self.y1), (self.x0, self.x1)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Indices that cut the box out of an array (depth, height, width)."""
        return slice(self.z0, self.z1), slice(self.y0, self.y1), slice(self.x0, self.x1)

    def __str__(self) -> str:
        return f"z {self.z0}–{self.z1}, y {self.y0}–{self.y1}, x {self.x0}–{self.x1}"


@dataclass(frozen=True)
class Crop:
    """The box that a volume is cropped to, and measurements of the lungs.

    Attributes:
        box: the part that is kept.
        kind: `lungs`; `fallback` if no lungs were found and the whole body is kept; `override` if a person gave the
            box.
        lung_share: lung volume divided by body volume, 0 to 1.
        lung_voxels: lung volume in voxels of the canonical volume.
    """

    box: Box
    kind: CropKind
    lung_share: float
    lung_voxels: int


def find_crop(segmentation: Segmentation, shape: tuple[int, int, int]) -> Crop:
    """The bounding box of the lungs with its margin, clipped to the volume of `shape`."""
    lungs, body = int(np.count_nonzero(segmentation.lungs)), int(np.count_nonzero(segmentation.body))
    share = lungs / body if body else 0.0
    lung_voxels = round(lungs * float(np.prod(segmentation.grid.step)))
    if share >= LEAST_LUNG_SHARE:
        extent = reach(segmentation)
        return Crop(_box(extent, segmentation.grid, shape), kind="lungs", lung_share=share, lung_voxels=lung_voxels)
    if body:
        box = _box(bounds(segmentation.body), segmentation.grid, shape, margin=0)
    else:
        box = Box(0, shape[0], 0, shape[1], 0, shape[2])
    return Crop(box=box, kind="fallback", lung_share=share, lung_voxels=lung_voxels)


def _box(extent: Extent, grid: Grid, shape: tuple[int, int, int], margin: float = MARGIN) -> Box:
    """Convert an extent on the grid to a box in the volume, with `margin` grid voxels around it."""
    edges: list[int] = []
    for axis, (first, last) in enumerate(zip(extent.first, extent.last, strict=True)):
        step, origin = grid.step[axis], grid.origin[axis]
        room, below = margin, 0.0
        if axis == 0 and margin:
            room = min(margin, grid.slices / THICK)
            below = BASE_MARGIN * (last - first)
        # A voxel that spans several grid voxels is kept if at least half of it is within the margin.
        half = max(0.0, 0.5 * (1 - step))
        start = origin + floor((first - room) * step + half)
        stop = origin + ceil((last + room + below) * step - half)
        if last == grid.values.shape[axis]:
            stop += ceil(grid.step[axis]) - 1  # a last, partial block is not on the grid
        edges += [max(0, start), min(shape[axis], stop)]
    return Box(*edges)
