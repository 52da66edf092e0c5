"""The reduced grid that lungs are looked for on: block means of the volume, cut to the body."""

from dataclasses import dataclass, replace

import cc3d
import numpy as np
from numpy.typing import NDArray

from cov3d.preprocess.morphology import Mask, dilated, eroded
from cov3d.volume import hounsfield_to_grey

DEPTH = 100
"""About so many grid voxels span the volume's depth."""

WIDTH = 128
"""About so many grid voxels span the body's width."""

TISSUE = hounsfield_to_grey(-300.0)
"""Above: tissue. Even dense ground glass stays below it; consolidation does not."""

_OPENING = 2
"""Half-width of the square opening that parts the body from what touches it, in grid voxels of about 3 mm."""

_THIN_WALL = 9
"""Grid voxels beyond the opened trunk within which tissue may still be the body's."""

_ROOM = 0.04
"""Share of the body's width that is kept around it: the air outside is measured there."""


@dataclass(frozen=True)
class Grid:
    """Block means of a part of a volume.

    Attributes:
        values: float32, shape (depth, height, width): mean grey levels.
        step: voxels of the volume that one grid voxel spans along each axis.
        origin: the volume's voxel at which the grid begins, along each axis.
        slices: slices of the volume.
    """

    values: NDArray[np.float32]
    step: tuple[int, int, int]
    origin: tuple[int, int, int]
    slices: int

    def turned(self) -> "Grid":
        """The grid over the same volume with its slices in the opposite order."""
        first = self.slices - self.origin[0] - len(self.values) * self.step[0]
        return replace(self, values=self.values[::-1], origin=(first, *self.origin[1:]))


def reduce(voxels: NDArray[np.uint8]) -> Grid:
    """The grid over a canonical volume (`uint8`, (depth, height, width)), cut to the body in the plane of a slice."""
    depth, height, width = voxels.shape
    rows, columns = _body_extent(voxels)
    in_plane = max(1, round((columns.stop - columns.start) / WIDTH))
    step = max(1, round(depth / DEPTH)), in_plane, in_plane
    rows, columns = _widened(rows, in_plane, height), _widened(columns, in_plane, width)
    values = block_mean(voxels[:, rows, columns], step)
    return Grid(values=values, step=step, origin=(0, rows.start, columns.start), slices=depth)


def block_mean(voxels: NDArray[np.uint8], step: tuple[int, int, int]) -> NDArray[np.float32]:
    """Means over blocks of `step` voxels; a last, partial block is left out."""
    deep, high, wide = step
    depth, height, width = (max(size // by, 1) for size, by in zip(voxels.shape, step, strict=True))
    means = np.empty((depth, height, width), dtype=np.float32)
    scale = np.float32(1 / (deep * high * wide))
    sums = np.uint16 if 255 * deep * high * wide < 2**16 else np.uint32  # half the bytes, as a rule
    for index in range(depth):  # a slab at a time: what it needs stays in the cache
        slab = voxels[index * deep : (index + 1) * deep, : height * high, : width * wide]
        rows = np.add.reduce(slab.reshape(deep, height, high, width * wide), axis=(0, 2), dtype=sums)
        cells = rows.reshape(height, width, wide)
        total = cells[..., 0].copy()
        for column in range(1, wide):
            total += cells[..., column]
        np.multiply(total, scale, out=means[index])
    return means


def trunk(tissue: Mask, unseen: Mask | None = None) -> Mask:
    """The largest connected piece of tissue after an in-plane opening that takes table, clothes and arms off it.

    It lacks chest walls that are thinner than the opening; `with_thin_walls` brings them back.

    Args:
        unseen: what was not measured; a chest wall that it cuts down to a sliver is not opened away.
    """
    opened = eroded(tissue, _OPENING) if unseen is None else eroded(tissue | unseen, _OPENING) & ~unseen
    if not opened.any():
        return opened
    labels = cc3d.connected_components(opened, connectivity=6)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return dilated(labels == sizes.argmax(), _OPENING + 1) & tissue


def with_thin_walls(core: Mask, tissue: Mask) -> Mask:
    """The trunk with the tissue near it: the chest wall of a child, and at times a part of the table."""
    return dilated(core, _THIN_WALL) & tissue


def _body_extent(voxels: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns that the body takes up, with a little air around it, found on a coarse look."""
    depth, height, width = voxels.shape
    by = max(1, min(height, width) // 64)
    coarse = block_mean(voxels[:: -(-depth // 20)], (1, by, by))
    body = trunk(coarse > TISSUE)
    if not body.any():
        return slice(0, height), slice(0, width)
    rows, columns = (np.flatnonzero(body.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    room = by + round(_ROOM * by * len(columns))
    return (
        slice(max(0, int(rows[0]) * by - room), min(height, (int(rows[-1]) + 1) * by + room)),
        slice(max(0, int(columns[0]) * by - room), min(width, (int(columns[-1]) + 1) * by + room)),
    )


def _widened(span: slice, by: int, size: int) -> slice:
    """`span` grown to a whole number of steps where the image leaves room for it."""
    short = -(span.stop - span.start) % by
    stop = min(size, span.stop + short)
    return slice(max(0, span.start - (short - (stop - span.stop))), stop)
