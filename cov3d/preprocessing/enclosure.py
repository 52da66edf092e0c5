"""On how many sides tissue surrounds a voxel. This separates lung from the air outside the body.

A flood fill from the border of the image was rejected: it enters the lung through one gap in a thin chest wall, is
stopped by a blanket, and depends on noise. Searching along the four directions of a slice is robust: air in the chest
has tissue in all four directions, or in three if the field of view cuts the lung, whatever gaps exist elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.morphology import Mask


def tissue_directions(tissue: Mask) -> NDArray[np.uint8]:
    """Number of directions within its slice, 0 to 4, in which a voxel has tissue at least two voxels thick."""
    seen = np.zeros(tissue.shape, dtype=np.uint8)
    for axis in (1, 2):
        first, last = _ends(tissue, axis)
        places = np.arange(tissue.shape[axis], dtype=np.int16).reshape((-1, 1) if axis == 1 else (1, -1))
        seen += (places > np.expand_dims(first, axis)).view(np.uint8)
        seen += (places < np.expand_dims(last, axis)).view(np.uint8)
    return seen


def _ends(tissue: Mask, axis: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Positions of the first and last two adjacent tissue voxels on each line; out of range if there are none."""
    length = tissue.shape[axis]
    cut = [slice(None)] * 3
    cut[axis] = slice(1, None)
    pairs = tissue[tuple(cut)].copy()
    cut[axis] = slice(None, -1)
    pairs &= tissue[tuple(cut)]
    if length < 2:
        shape = tuple(size for other, size in enumerate(tissue.shape) if other != axis)
        return np.full(shape, length, np.int16), np.full(shape, -1, np.int16)
    some = pairs.any(axis=axis)
    first = pairs.argmax(axis=axis)
    last = length - 1 - np.flip(pairs, axis).argmax(axis=axis)
    return np.where(some, first, length).astype(np.int16), np.where(some, last, -1).astype(np.int16)
