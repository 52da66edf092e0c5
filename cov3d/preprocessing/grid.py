"""The reduced grid on which lungs are segmented: the volume at about 3 mm, cropped to the body.

Grid voxels have about the same size relative to the body in every scan: finer pixels are averaged over blocks, coarser
ones are interpolated linearly. So a width in grid voxels means the same in every scan.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.enclosure import tissue_directions
from cov3d.preprocessing.morphology import Mask, largest, opened
from cov3d.volume import hounsfield_to_grey

DEPTH = 100
"""Approximate number of grid voxels along the volume's depth, if it has that many slices."""

WIDTH = 128
"""Approximate number of grid voxels across the body."""

TISSUE = hounsfield_to_grey(-300.0)
"""Brighter voxels are tissue. Even dense ground glass is darker; consolidation is not."""

_FINER_MOST = 4
"""A pixel is split into at most this many grid voxels along each side."""

_COARSE = 64
"""Approximate side length, in pixels, of the image on which the body is located."""

_TALL = 1.1
"""If the field of view cuts the sides of the body, the body's height times this factor replaces its width."""

_FLAT = 1.0
"""Rows and columns at the border with at most this standard deviation (grey levels) in the mean slice are bars that
made the image square; with noise over them, up to four times as much. Air may count as a bar, which is harmless."""

_ROOM = 0.04
"""Margin kept around the body, as a share of its width. The air outside is measured there."""


@dataclass(frozen=True)
class Grid:
    """A part of a volume at reduced resolution.

    Attributes:
        values: float32, shape (depth, height, width): mean grey levels.
        step: size of a grid voxel along each axis, in voxels of the volume; below 1 where the volume is coarse.
        origin: first voxel of the volume that the grid covers, along each axis.
        slices: number of slices of the volume.
    """

    values: NDArray[np.float32]
    step: tuple[float, float, float]
    origin: tuple[int, int, int]
    slices: int

    def turned(self) -> "Grid":
        """The grid with its slices in reverse order."""
        first = self.slices - self.origin[0] - round(len(self.values) * self.step[0])
        return replace(self, values=self.values[::-1], origin=(first, *self.origin[1:]))

    def enlarged(self, mask: Mask, shape: tuple[int, ...]) -> Mask:
        """Resample a mask of the grid to the voxels of its volume of `shape`; False outside the grid."""
        for axis, (size, step, origin) in enumerate(zip(shape, self.step, self.origin, strict=True)):
            cells = np.floor((np.arange(size) + 0.5 - origin) / step).astype(np.intp)
            inside = (cells >= 0) & (cells < mask.shape[axis])
            mask = mask.take(np.clip(cells, 0, mask.shape[axis] - 1), axis=axis)
            mask &= inside.reshape([-1 if other == axis else 1 for other in range(3)])
        return mask


def reduce(voxels: NDArray[np.uint8]) -> Grid:
    """The grid of a canonical volume (`uint8`, (depth, height, width)), cropped to the body within the slices."""
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
    for index in range(depth):  # one slab at a time, which fits into the cache
        slab = voxels[index * deep : (index + 1) * deep, : height * high, : width * wide]
        rows = np.add.reduce(slab.reshape(deep, height, high, width * wide), axis=(0, 2), dtype=sums)
        cells = rows.reshape(height, width, wide)
        total = cells[..., 0].copy()
        for column in range(1, wide):
            total += cells[..., column]
        np.multiply(total, scale, out=means[index])
    return means


def _interpolated(values: NDArray[np.float32], finer: int) -> NDArray[np.float32]:
    """`values` with `finer` times as many rows and columns, interpolated linearly between pixel centres."""
    if finer == 1:
        return values
    rows, columns = (_linear(size, finer) for size in values.shape[1:])
    return np.ascontiguousarray(rows @ values @ columns.T)


def _linear(size: int, finer: int) -> NDArray[np.float32]:
    places = np.clip((np.arange(size * finer) + 0.5) / finer - 0.5, 0, size - 1)
    distance = np.abs(places[:, np.newaxis] - np.arange(size))
    return np.clip(1 - distance, 0, None).astype(np.float32)


def _body_extent(voxels: NDArray[np.uint8]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the image without its bars, and of the body with a margin of air, at coarse resolution."""
    some = voxels[:: -(-len(voxels) // 20)]
    image = _image(some)
    rows, columns = image
    by = max(1, round(min(rows.stop - rows.start, columns.stop - columns.start) / _COARSE))
    tissue = block_mean(some[:, rows, columns], (1, by, by)) > TISSUE
    # Fill enclosed air first: the opening that removes table and clothes would remove a thin chest wall alone.
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
    """Rows and columns between the bars at the border of the image; all of them if the image has only bars."""
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
    """Overwrite the rows and columns beside bars, where bar and image are mixed, with their neighbours."""
    for axis, (span, whole, size) in enumerate(zip(spans, image, shape, strict=True), start=1):
        lines = np.moveaxis(values, axis, 0)
        if span.start == whole.start > 0 and len(lines) > 2:
            lines[0] = lines[1]
        if span.stop == whole.stop < size and len(lines) > 2:
            lines[-1] = lines[-2]


def _widened(span: slice, by: int, image: slice) -> slice:
    """`span` enlarged to a multiple of `by`, if the image has room."""
    short = -(span.stop - span.start) % by
    stop = min(image.stop, span.stop + short)
    return slice(max(image.start, span.start - (short - (stop - span.stop))), stop)
