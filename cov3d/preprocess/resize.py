"""Resizing equal to `skimage.transform.resize(volume, shape, order=3)`, the paper's, without its float64 volumes.

That function is linear and separable: a Gaussian against aliasing, then a cubic spline, each along one axis at a
time. So it is three small matrices, taken here from scikit-image itself by resizing a unit matrix, and three
products in float32.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize as skimage_resize


@lru_cache(maxsize=64)
def axis_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """The matrix (new_size, size) that resizes one axis of `size` voxels to `new_size`."""
    weights = skimage_resize(np.eye(size), (new_size, size), order=3, clip=False)
    return np.ascontiguousarray(weights, dtype=np.float32)


def resize(voxels: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Resize a `uint8` volume (depth, height, width) to `shape`.

    Values are clipped to the range of the input, as scikit-image does, and rounded to the nearest grey level.
    """
    depth, height, width = voxels.shape
    along_depth = axis_weights(depth, shape[0])
    along_height = axis_weights(height, shape[1])
    along_width = axis_weights(width, shape[2]).T
    planes = np.empty((depth, shape[1] * shape[2]), dtype=np.float32)
    for plane, image in zip(planes, voxels, strict=True):
        plane[:] = (along_height @ image.astype(np.float32) @ along_width).ravel()
    out = along_depth @ planes
    np.clip(out, voxels.min(), voxels.max(), out=out)
    np.rint(out, out=out)
    return out.astype(np.uint8).reshape(shape)
