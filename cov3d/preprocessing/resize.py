"""Resizing equal to `skimage.transform.resize(volume, shape, order=3)`, as in the paper, without float64 volumes.

That function is linear and separable: a Gaussian against aliasing, then a cubic spline, along one axis at a time. So
it equals three products with small matrices, which are obtained by resizing a unit matrix with scikit-image. The
weights vanish within a dozen voxels. The products are therefore computed in bands, each for a run of new voxels and
the few old voxels that matter: a fifth of the arithmetic, still as large matrix products.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NEGLIGIBLE = 1e-4
"""Smaller weights are dropped. Together they change no grey level by more than 0.05."""

_RUN = 16
"""New voxels per band. With fewer, the products are too small to be fast; with more, they contain too many zeros."""

_SLICES_AT_ONCE = 2
_COLUMNS_AT_ONCE = 2048
"""Work done at once: large enough for fast products, small enough for a core's cache (1 MB or less). Eight slices and
4096 columns took 50 % longer."""


@dataclass(frozen=True)
class Band:
    """A run of new voxels along one axis, the old voxels that they depend on, and the weights (new, old), float32."""

    new: slice
    old: slice
    weights: NDArray[np.float32]


@lru_cache(maxsize=64)
def axis_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """The matrix (new_size, size) that resizes one axis of `size` voxels to `new_size`."""
    from skimage.transform import resize as skimage_resize

    weights = skimage_resize(np.eye(size), (new_size, size), order=3, clip=False)
    return np.ascontiguousarray(weights, dtype=np.float32)


@lru_cache(maxsize=64)
def bands(size: int, new_size: int) -> tuple[Band, ...]:
    """The matrix of `axis_weights` cut into runs of new voxels, each without the columns that are zero."""
    weights = axis_weights(size, new_size)
    cut = []
    for start in range(0, new_size, _RUN):
        rows = weights[start : start + _RUN]
        used = np.flatnonzero((np.abs(rows) > _NEGLIGIBLE).any(axis=0))
        old = slice(int(used[0]), int(used[-1]) + 1)
        cut.append(Band(slice(start, start + len(rows)), old, np.ascontiguousarray(rows[:, old])))
    return tuple(cut)


def resize(voxels: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Resize a `uint8` volume (depth, height, width) to `shape`.

    Values are clipped to the range of the input, as scikit-image does, and rounded to the nearest grey level.
    """
    planes = _in_plane(voxels, shape[1], shape[2])
    # Add 0.5 before the clip, so that truncation rounds.
    low, high = np.float32(voxels.min()) + np.float32(0.5), np.float32(voxels.max()) + np.float32(0.5)
    out = np.empty((shape[0], shape[1] * shape[2]), dtype=np.uint8)
    for start in range(0, planes.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(start, start + _COLUMNS_AT_ONCE)
        for band in bands(len(voxels), shape[0]):
            slab = band.weights @ planes[band.old, columns]
            slab += np.float32(0.5)
            np.clip(slab, low, high, out=slab)
            out[band.new, columns] = slab
    return out.reshape(shape)


def _in_plane(voxels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Every slice resized in its plane, float32, shape (depth, height * width)."""
    depth, old_height, old_width = voxels.shape
    planes = np.empty((depth, height, width), dtype=np.float32)
    for start in range(0, depth, _SLICES_AT_ONCE):
        images = voxels[start : start + _SLICES_AT_ONCE].astype(np.float32)
        tall = images.reshape(-1, old_width)
        narrow = np.empty((len(tall), width), dtype=np.float32)
        for band in bands(old_width, width):
            narrow[:, band.new] = tall[:, band.old] @ band.weights.T
        stack = narrow.reshape(len(images), old_height, width)
        for band in bands(old_height, height):
            np.matmul(band.weights, stack[:, band.old], out=planes[start : start + _SLICES_AT_ONCE, band.new])
    return planes.reshape(depth, -1)
