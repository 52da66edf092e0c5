"""Coordinates, grids and smooth shapes for the synthetic chest.

Shapes are fields of approximate signed distance (mm, negative inside). They are computed on a coarse grid of about
4 mm and interpolated to the pixels of a slice, where edges are drawn. A distance is smooth across an edge, so edges are
as sharp as the pixels allow, at a fraction of the cost of computing the anatomy at every pixel. A model in voxels of HU
was rejected, because its edges would be as coarse as its grid.

Coordinates of the body: x to the patient's left, y backwards, z towards the feet, in mm; x = 0 is the midline, y = 0
the middle of the chest, z = 0 the top of the lungs. BLAS is not used, so that results don't depend on threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Box = tuple[slice, slice]

STEP = 4.0
"""Distance between the nodes of the coarse grid within a plane, mm."""

FAR = 30.0
"""The distance (mm) used for places that are far away."""

REACH = 20.0
"""Beyond this distance (mm) from a blob or tube its field is `FAR`."""


@dataclass(frozen=True)
class Frame:
    """The position of a scan's pixels in the body.

    Attributes:
        resolution: rows and columns of a slice.
        fov: width of a slice, mm.
        z: shape (depth,), the centre of each slice, mm, rising towards the feet.
        thickness: thickness of a slice, mm.
        roll: turn of the body about its long axis, radians.
        lean: shift of the body to the image's right for each mm towards the feet.
        pitch: shift of the body towards the image's bottom for each mm towards the feet.
        shift: image coordinates (x, y), mm from its centre, of the body's axis at `pivot`.
        pivot: the z, mm, about which the body leans.
    """

    resolution: int
    fov: float
    z: Array
    thickness: float
    roll: float
    lean: float
    pitch: float
    shift: tuple[float, float]
    pivot: float

    @property
    def pixel(self) -> float:
        """Width of a pixel, mm."""
        return self.fov / self.resolution

    @cached_property
    def centres(self) -> Array:
        """Shape (resolution,): the pixels' centres, mm from the middle of the image."""
        return ((np.arange(self.resolution) + 0.5) * self.pixel - self.fov / 2).astype(np.float32)

    def to_body(self, x: Array, y: Array, z: float) -> tuple[Array, Array]:
        """Convert image coordinates (mm) on the plane z to body coordinates."""
        cosine, sine = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        dx = x - np.float32(self.shift[0] + self.lean * (z - self.pivot))
        dy = y - np.float32(self.shift[1] + self.pitch * (z - self.pivot))
        return cosine * dx + sine * dy, cosine * dy - sine * dx

    def to_image(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """The inverse of `to_body`; z may be an array."""
        cosine, sine = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        return (
            cosine * x - sine * y + np.float32(self.shift[0]) + np.float32(self.lean) * (z - np.float32(self.pivot)),
            sine * x + cosine * y + np.float32(self.shift[1]) + np.float32(self.pitch) * (z - np.float32(self.pivot)),
        )

    def point_to_image(self, x: float, y: float, z: float) -> tuple[float, float]:
        """`to_image` for one point."""
        column, row = self.to_image(np.array(x, np.float32), np.array(y, np.float32), np.array(z, np.float32))
        return float(column), float(row)


class CoarseGrid:
    """The coarse grid of a frame. Nodes: `x` (nx,) and `y` (ny,) in image mm, `z` (nz,) in body mm.

    `rise` is the distance between planes, mm: `STEP`, or up to 1.5 times as much for thick slices.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        nodes = int(np.ceil(frame.fov / STEP)) + 2
        self.x = (np.arange(nodes) * STEP - (nodes - 1) * STEP / 2).astype(np.float32)
        self.y = self.x
        first, last = float(frame.z[0]) - frame.thickness, float(frame.z[-1]) + frame.thickness
        self.rise = float(np.clip(frame.thickness, STEP, 1.5 * STEP))
        planes = int(np.ceil((last - first) / self.rise)) + 2
        self.z = (first + np.arange(planes) * self.rise).astype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.z), len(self.y), len(self.x)

    def plane(self, index: int) -> tuple[Array, Array]:
        """Body coordinates x and y, each of shape (ny, nx), of the nodes of one plane."""
        return self.frame.to_body(self.x[None, :], self.y[:, None], float(self.z[index]))

    def window(self, index: int, x: float, y: float, half: float) -> Box:
        """The nodes of a plane within `half` mm of the body's point (x, y), along rows and columns."""
        column, row = self.frame.point_to_image(x, y, float(self.z[index]))
        return _span(self.y, row, half), _span(self.x, column, half)

    def at(self, fields: Array, z: float) -> Array:
        """`fields` (..., nz, ny, nx) interpolated to the plane z: (..., ny, nx)."""
        place = float(np.clip((z - self.z[0]) / self.rise, 0, len(self.z) - 1.001))
        below = int(place)
        lower = fields[..., below, :, :]
        return lower + (fields[..., below + 1, :, :] - lower) * np.float32(place - below)


def _span(nodes: Array, centre: float, half: float) -> slice:
    first = int(np.floor((centre - half - nodes[0]) / STEP))
    last = int(np.ceil((centre + half - nodes[0]) / STEP)) + 1
    return slice(max(first, 0), max(min(last, len(nodes)), 0))


class Upsampler:
    """Bilinear interpolation from nodes to pixels, within a box of pixels."""

    def __init__(self, grid: CoarseGrid) -> None:
        place = (grid.frame.centres - grid.x[0]) / np.float32(STEP)
        self.below = place.astype(np.intp)
        self.weight = (place - self.below).astype(np.float32)
        self.whole: Box = (slice(0, len(place)), slice(0, len(place)))

    def box(self, inside: NDArray[np.bool_]) -> Box | None:
        """The box of pixels that touch a node where `inside` (ny, nx) is True, or None."""
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if len(rows) == 0:
            return None
        box = self._pixels(rows[0], rows[-1]), self._pixels(columns[0], columns[-1])
        return None if box[0].stop <= box[0].start or box[1].stop <= box[1].start else box

    def _pixels(self, first: int, last: int) -> slice:
        start = int(np.searchsorted(self.below, first - 1, side="left"))
        return slice(start, int(np.searchsorted(self.below, last, side="right")))

    def __call__(self, field: Array, box: Box) -> Array:
        """`field` (ny, nx) at the pixels of `box`: (rows, columns)."""
        rows, columns = self.below[box[0]], self.below[box[1]]
        top = rows[0]
        band = field[top : rows[-1] + 2]
        left = band[:, columns]
        left += (band[:, columns + 1] - left) * self.weight[box[1]]
        upper = left[rows - top]
        upper += (left[rows - top + 1] - upper) * self.weight[box[0]][:, None]
        return upper


def smooth_max(a: Array, b: Array, blend: float) -> Array:
    """The maximum of two fields, smoothed over about `blend` mm where they are equal."""
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + np.float32(blend * blend)))


def oval(
    x: Array, y: Array, half: float, front: float, back: float, square: float, skew: float = 0.0
) -> tuple[Array, Array]:
    """Distance to an oval along the ray from its centre, and the angle around it.

    The oval extends from `front` to `back` in y and ±`half` in x. With `square` 0 it is an ellipse, with 1 a
    superellipse of fourth powers; `skew` widens the back.

    Returns:
        Distance in mm; bearing from 0 at the back to 1 at the front, the same on both sides.
    """
    middle, depth = (front + back) / 2, max((back - front) / 2, 1.0)
    dy = y - np.float32(middle)
    v = dy / np.float32(depth)
    u = x / (np.float32(half) * (1 + np.float32(skew) * v)) if skew else x / np.float32(half)
    u, v2 = u * u, v * v
    round_ = np.sqrt(u + v2)
    shape = (1 - np.float32(square)) * round_ + np.float32(square) * np.sqrt(np.sqrt(u * u + v2 * v2))
    distance = np.sqrt(x * x + dy * dy) * (1 - 1 / np.maximum(shape, np.float32(1e-2)))
    bearing = np.arccos(np.clip(v / np.maximum(round_, np.float32(1e-3)), -1, 1)) / np.float32(np.pi)
    return distance, bearing


@dataclass(frozen=True)
class Blob:
    """An ellipsoid along the axes: centre and radii, mm, each (x, y, z)."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]


@dataclass(frozen=True)
class Tube:
    """A line of points (x, y, z) in mm with a radius at each."""

    points: Sequence[tuple[float, float, float]]
    radii: Sequence[float]


def add_blobs(
    field: Array, grid: CoarseGrid, index: int, x: Array, y: Array, blobs: Sequence[Blob], blend: float = 0.0
) -> None:
    """Unite `field` (ny, nx) of one plane with `blobs`, in place; grooves between them are filled over `blend` mm."""
    z = float(grid.z[index])
    for blob in blobs:
        (cx, cy, cz), (rx, ry, rz) = blob.centre, blob.radii
        if abs(z - cz) > rz + REACH:
            continue
        rows, columns = grid.window(index, cx, cy, max(rx, ry) + REACH)
        dx, dy = x[rows, columns] - np.float32(cx), y[rows, columns] - np.float32(cy)
        near = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2 + np.float32(((z - cz) / rz) ** 2))
        slope = np.sqrt((dx / rx**2) ** 2 + (dy / ry**2) ** 2 + np.float32(((z - cz) / rz**2) ** 2))
        distance = near * (near - 1) / np.maximum(slope, np.float32(1e-4))
        if blend:
            field[rows, columns] = -smooth_max(-field[rows, columns], -distance, blend)
        else:
            np.minimum(field[rows, columns], distance, out=field[rows, columns])


def add_tubes(field: Array, grid: CoarseGrid, index: int, x: Array, y: Array, tubes: Sequence[Tube]) -> None:
    """Unite `field` (ny, nx) of one plane with `tubes`, in place."""
    z = float(grid.z[index])
    for tube in tubes:
        for start, end, r0, r1 in zip(tube.points, tube.points[1:], tube.radii, tube.radii[1:], strict=False):
            wide = max(r0, r1) + REACH
            if not min(start[2], end[2]) - wide < z < max(start[2], end[2]) + wide:
                continue
            half = max(abs(start[0] - end[0]), abs(start[1] - end[1])) / 2 + wide
            rows, columns = grid.window(index, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, half)
            distance = _to_segment(x[rows, columns], y[rows, columns], z, start, end, r0, r1)
            np.minimum(field[rows, columns], distance, out=field[rows, columns])


def _to_segment(
    x: Array,
    y: Array,
    z: float,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    r0: float,
    r1: float,
) -> Array:
    ex, ey, ez = (end[i] - start[i] for i in range(3))
    dx, dy, dz = x - np.float32(start[0]), y - np.float32(start[1]), z - start[2]
    length = max(ex * ex + ey * ey + ez * ez, 1e-6)
    along = np.clip((dx * np.float32(ex) + dy * np.float32(ey) + np.float32(dz * ez)) / np.float32(length), 0, 1)
    away = (dx - along * ex) ** 2 + (dy - along * ey) ** 2 + (np.float32(dz) - along * np.float32(ez)) ** 2
    return np.sqrt(away) - (np.float32(r0) + along * np.float32(r1 - r0))
