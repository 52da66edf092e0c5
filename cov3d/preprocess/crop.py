"""Segmentation → the box that the volume is cropped to."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocess.grid import Grid
from cov3d.preprocess.lungs import Segmentation

CropKind = Literal["lungs", "fallback"]

MARGIN = 1
"""Grid voxels added around the lungs: what the reduced grid can't resolve."""

BASE_MARGIN = 0.02
"""Share of the lungs' depth added below them: the deepest recess is thinner than a grid voxel."""

OPACITY_BASE_MARGIN = 0.05
"""Share of the lungs' depth added below lungs that are opaque throughout, and less in proportion: where there is
much ground glass there is consolidation too, first at the base, and it looks like the tissue under it."""

LEAST_LUNG_SHARE = 0.02
"""Less lung than this share of the body is taken for a mistake: bowel gas, or a scan of something else."""


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
    def slices(self) -> tuple[slice, slice, slice]:
        """Indices that cut the box out of an array (depth, height, width)."""
        return slice(self.z0, self.z1), slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True)
class Crop:
    """Where a volume is cropped, and what was measured on the way.

    Attributes:
        box: what is kept.
        kind: `lungs`, or `fallback` where none were found and the whole body is kept.
        lung_share: lung over body, both by volume, 0 to 1.
        lung_voxels: lung volume in voxels of the canonical volume.
    """

    box: Box
    kind: CropKind
    lung_share: float
    lung_voxels: int


def find_crop(segmentation: Segmentation, shape: tuple[int, int, int]) -> Crop:
    """The bounding box of the lungs with its margin, clipped to the volume of `shape`."""
    lungs, body = int(segmentation.lungs.sum()), int(segmentation.body.sum())
    share = lungs / body if body else 0.0
    lung_voxels = lungs * int(np.prod(segmentation.grid.step))
    if share >= LEAST_LUNG_SHARE:
        sides = _bounding_box(segmentation.lungs, segmentation.grid, shape, MARGIN)
        below = (BASE_MARGIN + OPACITY_BASE_MARGIN * segmentation.opacity) * (sides.z1 - sides.z0)
        box = replace(sides, z1=min(sides.z1 + round(below), shape[0]))
        return Crop(box=box, kind="lungs", lung_share=share, lung_voxels=lung_voxels)
    if body:
        box = _bounding_box(segmentation.body, segmentation.grid, shape, 0)
    else:
        box = Box(0, shape[0], 0, shape[1], 0, shape[2])
    return Crop(box=box, kind="fallback", lung_share=share, lung_voxels=lung_voxels)


def _bounding_box(mask: NDArray[np.bool_], grid: Grid, shape: tuple[int, int, int], margin: int) -> Box:
    bounds: list[int] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        bounds.append(max(0, grid.origin[axis] + (int(hit[0]) - margin) * grid.step[axis]))
        bounds.append(min(shape[axis], grid.origin[axis] + (int(hit[-1]) + 1 + margin) * grid.step[axis]))
    return Box(*bounds)
