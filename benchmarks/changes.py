"""Changes of a scan that move no lung: what `stability.py` and the suite's quick form of it try.

A change maps voxels (and a mask) to new ones, and says where a place of the old scan lies in the new one, so that the
boxes of both can be compared.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from cov3d.preprocessing.crop import Box

Voxels = NDArray[np.uint8]
Arrays = tuple[Voxels, NDArray[np.bool_]]

FACE = 0.03
"""A face of the box has moved too far by more than this share of the scan's extent."""

FACE_SLICES = 0.05
"""The same where slices were cut off or merged."""

FACE_TURNED = 0.06
"""The same where the scan was turned."""


@dataclass(frozen=True)
class Axis:
    """Where a place on an axis of the old scan lies in the new one: `scale` times it, plus `offset`."""

    scale: float = 1.0
    offset: float = 0.0


SAME = (Axis(), Axis(), Axis())


@dataclass(frozen=True)
class Changed:
    """A changed scan: its voxels, its mask, and where the old axes (depth, height, width) lie in it."""

    voxels: Voxels
    lungs: NDArray[np.bool_]
    axes: tuple[Axis, Axis, Axis] = SAME

    def back(self, box: Box) -> tuple[tuple[float, float], ...]:
        """A box found in the new scan, in voxels of the old one; first and last along each axis."""
        spans = []
        for (first, last), axis in zip(box.bounds, self.axes, strict=True):
            low, high = sorted(((first - axis.offset) / axis.scale, (last - axis.offset) / axis.scale))
            spans.append((low, high))
        return tuple(spans)


Change = Callable[[Voxels, NDArray[np.bool_]], Changed]


def _levels(by: int, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    return Changed(np.clip(voxels.astype(np.int16) + by, 0, 255).astype(np.uint8), lungs)


def _noise(deviation: float, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    noise = np.random.default_rng(0).normal(0, deviation, voxels.shape).astype(np.float32)
    return Changed(np.clip(np.rint(voxels + noise), 0, 255).astype(np.uint8), lungs)


def _jpeg(quality: int, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    out = np.empty_like(voxels)
    for source, target in zip(voxels, out, strict=True):
        stream = io.BytesIO()
        Image.fromarray(source).save(stream, "JPEG", quality=quality)
        target[:] = np.asarray(Image.open(stream))
    return Changed(out, lungs)


def _resolution(scale: float, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    high, wide = (max(8, round(size * scale)) for size in voxels.shape[1:])
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.stack([np.asarray(Image.fromarray(plane).resize((wide, high), method)) for plane in voxels])
    masks = [np.asarray(Image.fromarray(plane).resize((wide, high), Image.Resampling.NEAREST)) for plane in lungs]
    axes = Axis(), Axis(high / voxels.shape[1]), Axis(wide / voxels.shape[2])
    return Changed(small, np.stack(masks), axes)


def _padded(level: int | None, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    """Bars of one level at all sides, an eighth of the width; None for the level of -1000 HU."""
    by = voxels.shape[2] // 8
    widths = ((0, 0), (by, by), (by, by))
    fill = 26 if level is None else level
    axes = Axis(), Axis(offset=by), Axis(offset=by)
    return Changed(np.pad(voxels, widths, constant_values=fill), np.pad(lungs, widths), axes)


def _mirrored(voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    axes = Axis(), Axis(), Axis(-1, voxels.shape[2])
    return Changed(np.ascontiguousarray(voxels[:, :, ::-1]), lungs[:, :, ::-1], axes)


def _cut(first: int, last: int, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    kept = slice(first, len(voxels) - last)
    return Changed(voxels[kept], lungs[kept], (Axis(offset=-first), Axis(), Axis()))


def _shifted(rows: int, columns: int, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    """The image moved down and to the right; its first row and column fill what is left free."""
    widths = ((0, 0), (rows, 0), (columns, 0))
    _, high, wide = voxels.shape
    moved = np.pad(voxels, widths, mode="edge")[:, :high, :wide]
    axes = Axis(), Axis(offset=rows), Axis(offset=columns)
    return Changed(moved, np.pad(lungs, widths)[:, :high, :wide], axes)


def _every_second(voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    return Changed(voxels[::2], lungs[::2], (Axis(0.5, 0.25), Axis(), Axis()))


def _pairs(voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    even = len(voxels) // 2 * 2
    pairs = voxels[:even].reshape(-1, 2, *voxels.shape[1:])
    merged = lungs[:even].reshape(-1, 2, *lungs.shape[1:]).any(axis=1)
    return Changed(np.rint(pairs.mean(axis=1)).astype(np.uint8), merged, (Axis(0.5), Axis(), Axis()))


def _turned(degrees: float, voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    """Turned about the middle of the image; the image's edge goes on beyond it."""
    images = [Image.fromarray(np.pad(plane, 64, mode="edge")) for plane in voxels]
    turned = [np.asarray(one.rotate(degrees, Image.Resampling.BILINEAR))[64:-64, 64:-64] for one in images]
    masks = [np.asarray(Image.fromarray(plane.view(np.uint8)).rotate(degrees)) > 0 for plane in lungs]
    return Changed(np.stack(turned), np.stack(masks))


def _round(voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    """Black outside the largest circle or, where the image is no square, ellipse."""
    _, high, wide = voxels.shape
    rows, columns = (np.linspace(-1, 1, size)[:, np.newaxis] for size in (high, wide))
    outside = rows**2 + columns.T**2 > 1
    return Changed(np.where(outside, 0, voxels).astype(np.uint8), lungs & ~outside)


def _blurred(voxels: Voxels, lungs: NDArray[np.bool_]) -> Changed:
    """Edges softened by 0.4 % of the width within slices, as by a soft kernel."""
    width = 0.004 * voxels.shape[2]
    return Changed(np.stack([ndimage.gaussian_filter(plane, width) for plane in voxels]), lungs)


CHANGES: dict[str, tuple[Change, float]] = {
    "3 grey levels brighter": (partial(_levels, 3), FACE),
    "3 grey levels darker": (partial(_levels, -3), FACE),
    "noise of 2": (partial(_noise, 2.0), FACE),
    "noise of 5": (partial(_noise, 5.0), FACE),
    "JPEG quality 75": (partial(_jpeg, 75), FACE),
    "half resolution in plane": (partial(_resolution, 0.5), FACE),
    "double resolution in plane": (partial(_resolution, 2.0), FACE),
    "padded with black": (partial(_padded, 0), FACE),
    "padded with air": (partial(_padded, None), FACE),
    "mirrored": (_mirrored, FACE),
    "2 slices cut off": (partial(_cut, 1, 1), FACE_SLICES),
    "shifted by 3 rows": (partial(_shifted, 3, 0), FACE),
    "every second slice": (_every_second, FACE_SLICES),
    "pairs of slices averaged": (_pairs, FACE_SLICES),
    "turned by 3 degrees": (partial(_turned, 3.0), FACE_TURNED),
    "round field of view": (_round, FACE),
    "2 slices cut off at the head": (partial(_cut, 2, 0), FACE_SLICES),
    "2 slices cut off at the feet": (partial(_cut, 0, 2), FACE_SLICES),
    "shifted by 2 columns": (partial(_shifted, 0, 2), FACE),
    "three quarters of the resolution": (partial(_resolution, 0.75), FACE),
    "turned by -3 degrees": (partial(_turned, -3.0), FACE_TURNED),
    "noise of 10": (partial(_noise, 10.0), FACE),
    "6 grey levels brighter": (partial(_levels, 6), FACE),
    "blurred": (_blurred, FACE),
}
"""Every change by name, and the share of the extent that a face may move by."""
