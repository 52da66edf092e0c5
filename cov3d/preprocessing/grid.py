"""The reduced grid that lungs are looked for on: the volume at about 3 mm, cut to the body.

Its voxels have about the same size in a body whatever the pixels of the scan are: block means where they are finer,
linear interpolation where they are coarser, so that a width in grid voxels means the same in every scan.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.enclosure import tissue_directions
from cov3d.preprocessing.morphology import Mask, largest, opened
from cov3d.volume import hounsfield_to_grey

DEPTH = 100
"""About so many grid voxels span the volume's depth, where it has that many slices."""

WIDTH = 128
"""About so many grid voxels span the body's width."""

TISSUE = hounsfield_to_grey(-300.0)
"""Above: tissue. Even dense ground glass stays below it; consolidation does not."""

_FINER_MOST = 4
"""A pixel is split into at most this many grid voxels to a side."""

_COARSE = 64
"""The body is searched for on an image of about this many pixels to a side."""

_TALL = 1.1
"""Where the field of view cuts the sides of the body, its height times this gives the scale in place of its width."""

_FLAT = 1.0
"""Rows and columns at the border are bars that made the image square, up to this standard deviation (grey levels) of
the mean slice; up to four times as much if noise lies over them. Even air may be taken for a bar: that is harmless."""

_ROOM = 0.04
"""Share of the body's width that is kept around it: the air outside is measured there."""


@dataclass(frozen=True)
class Grid:
    """A part of a volume at reduced resolution.

    Attributes:
        values: float32, shape (depth, height, width): mean grey levels.
        step: voxels of the volume that one grid voxel spans along each axis; less than one where they are coarse.
        origin: the volume's voxel at which the grid begins, along each axis.
        slices: slices of the volume.
    """

    values: NDArray[np.float32]
    step: tuple[float, float, float]
    origin: tuple[int, int, int]
    slices: int

    def turned(self) -> "Grid":
        """The grid over the same volume with its slices in the opposite order."""
        first = self.slices - self.origin[0] - round(len(self.values) * self.step[0])
        return replace(self, values=self.values[::-1], origin=(first, *self.origin[1:]))

    def enlarged(self, mask: Mask, shape: tuple[int, ...]) -> Mask:
        """A mask of the grid on the voxels of its volume of `shape`; nothing beyond the grid is in it."""
        for axis, (size, step, origin) in enumerate(zip(shape, self.step, self.origin, strict=True)):
            cells = np.floor((np.arange(size) + 0.5 - origin) / step).astype(np.intp)
            inside = (cells >= 0) & (cells < mask.shape[axis])
            mask = mask.take(np.clip(cells, 0, mask.shape[axis] - 1), axis=axis)
            mask &= inside.reshape([-1 if other == axis else 1 for other in range(3)])
        return mask


def reduce(voxels: NDArray[np.uint8]) -> Grid:
    """The grid over a canonical volume (`uint8`, (depth, height, width)), cut to the body in the plane of a slice."""
    depth = len(voxels)
    image, body = _body_extent(voxels)
    high, wide = (span.stop - span.start for span in body)
    across = max(wide, _TALL * high) / WIDTH
    by, finer = max(1, round(across)), min(max(1, round(1 / across)), _FINER_MOST)
    rows, columns = (_widened(span, by, whole) for span, whole in zip(body, image, strict=True))
    deep = max(1, round(depth / DEPTH))
    values = block_mean(voxels[:, rows, columns], (deep, by, by))
    _without_bars_rim(values, (rows, columns), image, voxels.shape[1:])
    return Grid(
        values=_interpolated(values, finer),
        step=(deep, by / finer, by / finer),
        origin=(0, rows.start, columns.start),
        slices=depth,
    )


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


def _interpolated(values: NDArray[np.float32], finer: int) -> NDArray[np.float32]:
    """`values` with `finer` times as many rows and columns, linearly between the middles of the old ones."""
    if finer == 1:
        return values
    rows, columns = (_linear(size, finer) for size in values.shape[1:])
    return np.ascontiguousarray(rows @ values @ columns.T)


def _linear(size: int, finer: int) -> NDArray[np.float32]:
    places = np.clip((np.arange(size * finer) + 0.5) / finer - 0.5, 0, size - 1)
    distance = np.abs(places[:, np.newaxis] - np.arange(size))
    return np.clip(1 - distance, 0, None).astype(np.float32)


def _body_extent(voxels: NDArray[np.uint8]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the image without its bars, and those of the body with a little air, on a coarse look."""
    some = voxels[:: -(-len(voxels) // 20)]
    image = _image(some)
    rows, columns = image
    by = max(1, round(min(rows.stop - rows.start, columns.stop - columns.start) / _COARSE))
    tissue = block_mean(some[:, rows, columns], (1, by, by)) > TISSUE
    # What tissue encloses is filled: a chest wall alone is too thin for the opening that takes off table and clothes.
    body = largest(opened(tissue | (tissue_directions(tissue) >= 3), 2))
    if not body.any():
        return image, image
    found = [np.flatnonzero(body.any(axis=axes)) for axes in ((0, 2), (0, 1))]
    room = by + round(_ROOM * by * len(found[1]))
    spans = [
        slice(
            max(whole.start, whole.start + int(hit[0]) * by - room),
            min(whole.stop, whole.start + (int(hit[-1]) + 1) * by + room),
        )
        for hit, whole in zip(found, image, strict=True)
    ]
    return image, (spans[0], spans[1])


def _image(some: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns between the bars at the image's border; all of them where nothing else is there."""
    mean = np.add.reduce(some, axis=0, dtype=np.uint16) / np.float32(len(some))
    spans = []
    for axis in (1, 0):
        spread = mean.std(axis=axis)
        hit = np.flatnonzero(spread > min(max(_FLAT, 1.3 * float(spread.min())), 4 * _FLAT))
        if not hit.size:
            return slice(0, mean.shape[0]), slice(0, mean.shape[1])
        spans.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return spans[0], spans[1]


def _without_bars_rim(
    values: NDArray[np.float32], spans: tuple[slice, slice], image: tuple[slice, slice], shape: tuple[int, ...]
) -> None:
    """Overwrite the rows and columns beside bars with their neighbours: bar and image are mixed in them."""
    for axis, (span, whole, size) in enumerate(zip(spans, image, shape, strict=True), start=1):
        lines = np.moveaxis(values, axis, 0)
        if span.start == whole.start > 0 and len(lines) > 2:
            lines[0] = lines[1]
        if span.stop == whole.stop < size and len(lines) > 2:
            lines[-1] = lines[-2]


def _widened(span: slice, by: int, image: slice) -> slice:
    """`span` grown to a whole number of steps where the image leaves room for it."""
    short = -(span.stop - span.start) % by
    stop = min(image.stop, span.stop + short)
    return slice(max(image.start, span.start - (short - (stop - span.stop))), stop)
