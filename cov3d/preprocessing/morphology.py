"""Erosion, dilation and growth of masks by squares within their slices.

SciPy's filters give the same masks (a test compares them), but took three fifths of a segmentation: they go value by
value, while a mask joined with itself shifted goes through whole slices at once, eight of them packed into one.
"""

import cc3d
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def dilated(mask: Mask, radius: int) -> Mask:
    """True where any of `mask` is within `radius` rows and columns; shape (depth, height, width)."""
    bits = _packed(mask)
    for axis in (1, 2):
        bits = _joined(bits, radius, axis)
    return _unpacked(bits, len(mask))


def eroded(mask: Mask, radius: int) -> Mask:
    """True where all of `mask` is within `radius` rows and columns; what lies beyond the border counts as True."""
    return ~dilated(~mask, radius)


def opened(mask: Mask, radius: int) -> Mask:
    """What of `mask` a square of `radius` rows and columns around its middle covers from within."""
    return dilated(eroded(mask, radius), radius)


def largest(mask: Mask) -> Mask:
    """The largest piece of `mask` that is connected through faces; empty where it is empty."""
    labels = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(labels[mask], minlength=2)  # a third of the time that all labels take
    return np.asarray(labels == max(1, sizes.argmax()))


def closed(mask: Mask, radius: int) -> Mask:
    """`mask` with the gaps that a square of `radius` rows and columns around its middle does not fit into.

    Within `radius` of the border nothing is added: what lies beyond might open the gap.
    """
    out = mask.copy()
    inner = slice(radius, -radius or None)
    out[:, inner, inner] |= eroded(dilated(mask, radius), radius)[:, inner, inner]
    return out


def shared_out(first: Mask, second: Mask, within: Mask, steps: int) -> tuple[Mask, Mask]:
    """`first` and `second` grown within `within`, both a row or column at a time, so that each takes what is nearer.

    What both reach in the same step goes to `second`. Neither grows through the other, nor round a corner that
    `within` does not go round.
    """
    one, other, room = (_packed(mask) for mask in (first, second, within))
    room &= ~(one | other)
    for _ in range(steps):
        grown = _neighbours(other) & room
        other |= grown
        room &= ~grown
        grown = _neighbours(one) & room
        one |= grown
        room &= ~grown
    return _unpacked(one, len(first)), _unpacked(other, len(first))


def _neighbours(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The places beside, before and behind a packed mask's, in the same slice."""
    out = np.zeros_like(bits)
    out[:, 1:] |= bits[:, :-1]
    out[:, :-1] |= bits[:, 1:]
    out[:, :, 1:] |= bits[:, :, :-1]
    out[:, :, :-1] |= bits[:, :, 1:]
    return out


def _packed(mask: Mask) -> NDArray[np.uint8]:
    """The first eighth of the slices in the lowest bits, and so on: what is done within slices is done to eight."""
    depth, height, width = mask.shape
    deep = max(1, -(-depth // 8))
    bits = np.zeros((deep, height, width), dtype=np.uint8)
    for start in reversed(range(0, depth, deep)):
        part = mask[start : start + deep].view(np.uint8)
        bits += bits
        bits[: len(part)] |= part
    return bits


def _unpacked(bits: NDArray[np.uint8], depth: int) -> Mask:
    mask = np.empty((depth, *bits.shape[1:]), dtype=bool)
    for bit, start in enumerate(range(0, depth, len(bits))):
        part = mask[start : start + len(bits)]
        np.not_equal(bits[: len(part)] & np.uint8(1 << bit), 0, out=part)
    return mask


def _joined(bits: NDArray[np.uint8], radius: int, axis: int) -> NDArray[np.uint8]:
    """`bits`, each or any of its neighbours along `axis`; steps double, as long as they leave no gap."""
    length = bits.shape[axis]
    reach, radius = 0, min(radius, length - 1)
    while reach < radius:
        step = min(reach + 1, radius - reach)
        before = (slice(None),) * axis + (slice(None, length - step),)
        after = (slice(None),) * axis + (slice(step, None),)
        out = bits.copy()
        out[after] |= bits[before]
        out[before] |= bits[after]
        bits = out
        reach += step
    return bits
