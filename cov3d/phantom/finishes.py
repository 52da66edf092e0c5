"""Difficult kinds of scan made from finished slices: flipped, padded with bars, or coarse."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Slices = NDArray[np.uint8]
Finish = Callable[[Slices, Slices, np.random.Generator], tuple[Slices, Slices]]
"""Changes voxels and mask, each (depth, height, width), to those in the scan's file."""


def _flipped(axis: int) -> Finish:
    def finish(voxels: Slices, mask: Slices, rng: np.random.Generator) -> tuple[Slices, Slices]:
        return np.ascontiguousarray(np.flip(voxels, axis)), np.ascontiguousarray(np.flip(mask, axis))

    return finish


def _with_bars(voxels: Slices, mask: Slices, rng: np.random.Generator) -> tuple[Slices, Slices]:
    """Bars of one grey level on two sides of the image, as from a converter that makes images square."""
    level = int(rng.choice([0, 0, 12, 25]))
    axis = 1 if rng.random() < 0.4 else 2
    wide = round(voxels.shape[axis] * float(rng.uniform(0.04, 0.12)))
    if axis == 1:  # narrower, so that the body behind the lungs stays visible
        wide = round(0.5 * wide)
    voxels, mask = np.moveaxis(voxels, axis, 0).copy(), np.moveaxis(mask, axis, 0).copy()
    for side in (slice(0, wide), slice(len(voxels) - wide, None)):
        voxels[side], mask[side] = level, 0
    return np.ascontiguousarray(np.moveaxis(voxels, 0, axis)), np.ascontiguousarray(np.moveaxis(mask, 0, axis))


def _coarse(voxels: Slices, mask: Slices, rng: np.random.Generator) -> tuple[Slices, Slices]:
    """Pixels of 4 to 6 mm: means of blocks. The mask is lung if most of a block is lung."""
    by = round(voxels.shape[1] / float(rng.uniform(64, 96)))
    size = voxels.shape[1] // by

    def blocks(slices: NDArray[np.generic]) -> NDArray[np.floating]:
        cut = slices[:, : size * by, : size * by].reshape(len(slices), size, by, size, by)
        return np.asarray(cut.mean(axis=(2, 4), dtype=np.float32))

    middle = mask[:, by // 2 : size * by : by, by // 2 : size * by : by]
    return np.rint(blocks(voxels)).astype(np.uint8), np.where(blocks(mask > 0) >= 0.5, np.maximum(middle, 1), 0).astype(
        np.uint8
    )


FINISHES: dict[str, Finish] = {
    "feet first": _flipped(0),
    "upside down": _flipped(1),
    "bars": _with_bars,
    "low resolution": _coarse,
}
"""Functions for the finished slices, by kind."""
