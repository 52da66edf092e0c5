"""Planes of stored values → grey levels, with statistics of the values."""

import math
import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cov3d.volume import WINDOW_HU

LOWEST, BINS = -4096, 8192
"""Values are counted in bins of 1 HU; the first and last bin hold the values beyond them."""
_GREY_PER_HU = np.float32(255 / (WINDOW_HU[1] - WINDOW_HU[0]))
"""Rounded to float32, but the nearest integers to its products with 0 to 1500 are exact."""

_SMALL = 128 * 128
"""Pixels of a small plane."""

MOST_KEPT = 2**22
"""Pixels of the largest planes whose arrays a thread keeps."""
_kept = threading.local()


@dataclass
class Levels:
    """Statistics of the values of a volume.

    Attributes:
        counts: a histogram of every ninth value (of all values of small planes), in bins of 1 HU.
        lowest, highest: the range of the values.
        no_number: number of voxels that are not finite.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    lowest: float = np.inf
    highest: float = -np.inf
    no_number: int = 0

    def __iadd__(self, other: "Levels") -> "Levels":
        self.counts += other.counts
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        self.no_number += other.no_number
        return self


def stack_to_grey(
    planes: Sequence[NDArray[Any]],
    target: NDArray[np.uint8],
    slope: float = 1.0,
    intercept: float = 0.0,
    air: Sequence[float] = (),
) -> Levels:
    """Write the grey levels of planes of one type and shape into `target`, of shape (planes, rows, columns).

    The result is that of `to_grey` with each plane. In threads it is faster: each pass needs Python's lock once, and
    passes over one plane are so short that threads would mostly wait for it.
    """
    if len(planes) == 1:
        return to_grey(planes[0], target[0], slope, intercept, air)
    stored = _scratch("stored", target.shape, planes[0].dtype)
    return to_grey(np.stack(planes, out=stored), target, slope, intercept, air)


def to_grey(
    stored: NDArray[Any],
    target: NDArray[np.uint8],
    slope: float = 1.0,
    intercept: float = 0.0,
    air: Sequence[float] = (),
) -> Levels:
    """Write the grey levels of stored values into `target`, of the same shape (…, rows, columns).

    Hounsfield units are slope x stored value + intercept. Values that are not finite become air.

    Args:
        stored: numbers of any type.
        target: for the grey levels.
        slope: see above.
        intercept: see above.
        air: smallest and largest stored value of a range to be taken as air; empty for none.
    """
    if slope == 1.0 and not air and _are_small_integers(stored, intercept):
        return _integers_to_grey(stored, target, int(intercept))
    hounsfield = _scratch("grey", stored.shape, np.float32)
    with np.errstate(all="ignore"):
        hounsfield[...] = stored
        if slope != 1.0:
            hounsfield *= np.float32(slope)
        hounsfield += np.float32(intercept)
    if air:
        hounsfield[(stored >= air[0]) & (stored <= air[1])] = WINDOW_HU[0]
    found = Levels()
    found.lowest, found.highest = float(hounsfield.min()), float(hounsfield.max())
    if not math.isfinite(found.lowest) or not math.isfinite(found.highest):
        finite = np.isfinite(hounsfield)
        found.no_number = finite.size - int(np.count_nonzero(finite))
        hounsfield[~finite] = WINDOW_HU[0]
        found.lowest, found.highest = float(hounsfield.min()), float(hounsfield.max())
    bins = np.clip(_counted(hounsfield) - LOWEST, 0, BINS - 1).astype(np.intp)
    found.counts = np.bincount(bins.ravel(), minlength=BINS)
    _window(hounsfield)
    target[...] = hounsfield
    return found


def _are_small_integers(stored: NDArray[Any], intercept: float) -> bool:
    """Whether values are integers of up to 16 bits, in Hounsfield units too, and can lie within the window."""
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2 or not float(intercept).is_integer():
        return False
    limits = np.iinfo(stored.dtype)
    return limits.min <= WINDOW_HU[1] - intercept and WINDOW_HU[0] - intercept <= limits.max


def _integers_to_grey(stored: NDArray[Any], target: NDArray[np.uint8], intercept: int) -> Levels:
    """What `to_grey` does with integers, in fewer and shorter passes."""
    values = stored.astype(np.uint16 if stored.dtype.kind == "u" else np.int16, copy=False)
    low, high = (round(edge) - intercept for edge in WINDOW_HU)
    limits = np.iinfo(values.dtype)
    found = Levels()
    found.lowest, found.highest = (float(int(edge) + intercept) for edge in (values.min(), values.max()))
    counted = _counted(values)
    bins = _scratch("bins", counted.shape, np.intp)
    bins[...] = counted
    bins += intercept - LOWEST
    if not LOWEST <= found.lowest <= found.highest < LOWEST + BINS:
        np.clip(bins, 0, BINS - 1, out=bins)
    found.counts = np.bincount(bins.ravel(), minlength=BINS)
    # One edge of the window may not fit 16 bits; the distances to the lower edge, up to 1500, do.
    inside = _scratch("inside", values.shape, values.dtype)
    np.clip(values, *np.clip([low, high], limits.min, limits.max).astype(values.dtype), out=inside)
    above = inside.view(np.uint16)
    above -= np.uint16(low % 65_536)
    grey = _scratch("grey", values.shape, np.float32)
    grey[...] = above
    grey *= _GREY_PER_HU
    target[...] = np.rint(grey, out=grey)
    return found


def _counted(values: NDArray[Any]) -> NDArray[Any]:
    """The values that go into a histogram."""
    rows, columns = values.shape[-2:]
    return values if rows * columns <= _SMALL else values[..., ::3, ::3]


def _scratch(name: str, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """An array of this thread, whose content is lost when it is asked for again.

    Memory of a new array is cleared by the system first, which takes as long as the arithmetic on a plane.
    """
    if math.prod(shape) > MOST_KEPT:
        return np.empty(shape, kind)
    kept = getattr(_kept, name, None)
    if kept is None or kept.shape != shape or kept.dtype != kind:
        # Not by malloc, which would keep the memory of a thread that has ended, apart from that of other threads.
        size = math.prod(shape) * np.dtype(kind).itemsize
        kept = np.frombuffer(mmap.mmap(-1, max(size, 1)), kind, math.prod(shape)).reshape(shape)
        setattr(_kept, name, kept)
    return kept


def _window(values: NDArray[np.float32]) -> None:
    """Hounsfield units → rounded grey levels, in place. Integers are rounded exactly: the product fits a float32."""
    low, high = WINDOW_HU
    np.clip(values, low, high, out=values)
    values -= np.float32(low)
    values *= np.float32(255)
    values /= np.float32(high - low)
    np.rint(values, out=values)
