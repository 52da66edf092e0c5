"""A single-file scan in Hounsfield units (NIfTI, MetaImage) → Volume.

The axes are put into canonical order and direction by the header, with no voxel resampled: an axis goes to the
patient's axis that it lies nearest to. A file whose values can't be Hounsfield units is refused: to take it for a
scan all the same would give a prediction that looks like any other.
"""

import zlib
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import metaimage, nifti
from cov3d.readers.kinds import GZIP, HEAD, METAIMAGE, NIFTI, PAIR, head_of, kind_of
from cov3d.readers.stored import Stored
from cov3d.volume import WINDOW_HU, Volume, hounsfield_to_grey

_READERS = {".nii.gz": nifti, ".nii": nifti, ".mha": metaimage, ".mhd": metaimage}
SUFFIXES = tuple(_READERS)
_BY_KIND = {NIFTI: nifti, PAIR: nifti, METAIMAGE: metaimage}

_CANONICAL = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Where depth, height and width of a Volume go, as (left, posterior, superior) of the patient."""

_NOTED_DEGREES = 3.0
_SPACING_MM = (0.01, 100.0)
_LEAST_SHARE = 0.001
"""Of the voxels of a CT, at least so many are gas, and so many are tissue."""
_GAS = (1, round(hounsfield_to_grey(-300.0)))
_TISSUE = (round(hounsfield_to_grey(-200.0)), 255)


_LOWEST, _STEP, _LEVELS = -4000.0, 20.0, 400
"""The values are counted in steps of 20 HU from -4000 to 4000."""
_SOFT_TISSUE = (-200.0, 200.0)
_AIR = (-1100.0, -860.0)
_SHIFT = 1012.0
"""Shifts seen are 1000 and 1024."""
_MUCH = 0.04
"""Less than this share of the voxels is no peak of soft tissue or air."""


def is_image(name: str) -> bool:
    """Whether a file of this name is a single-file scan; a hidden one is not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def read_image(file: Path) -> Volume:
    """Read a scan in Hounsfield units from a single file.

    Raises:
        ScanError: the file is damaged, is not one volume of plain numbers, or does not hold Hounsfield units.
    """
    container = _container(file)
    stored = container.reader.read_header(file, container.compression)
    order, flips, degrees = _orientation(stored)
    try:
        voxels = np.empty([stored.shape[axis] for axis in order], dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        size = " x ".join(map(str, stored.shape))
        raise ScanError(f"{file} has {size} voxels by its header, more than memory holds: is it damaged?") from error
    as_stored = voxels[flips].transpose(np.argsort(order))
    notes = [*container.notes, *stored.notes, *_read_voxels(stored, as_stored)]
    if degrees > _NOTED_DEGREES:
        notes.append(f"axes {degrees:.0f} degrees off the patient's: the nearest taken")
    depth, height, width = (round(float(stored.spacing[axis]), 6) for axis in order)  # float32 in NIfTI
    spacing = None if metaimage.NO_SPACING in stored.notes else (depth, height, width)
    if spacing and not (_SPACING_MM[0] <= min(spacing) and max(spacing) <= _SPACING_MM[1]):
        spacing = None
        notes.append(f"spacing left unknown: {depth:g} x {height:g} x {width:g} mm can't be a CT's")
    return Volume(voxels=voxels, path=file, slices_found=len(voxels), spacing=spacing, notes=tuple(notes))


class _Container(NamedTuple):
    """What a file is by its content: which module reads its header, its compression, and where its name says else."""

    reader: ModuleType
    compression: str
    notes: tuple[str, ...]


def _container(file: Path) -> _Container:
    """What to read a file as; by its name where its content does not tell.

    Raises:
        ScanError: it holds another compressed file.
    """
    suffix = next(suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix))
    head = head_of(file)
    compression = "gzip" if kind_of(head) == GZIP else ""
    if compression:
        head = _decompressed(head)
    kind = kind_of(head)
    if compression and kind is not None and kind not in _BY_KIND and head:
        raise ScanError(f"{file} is compressed by gzip, and in it is {kind.one}: {kind.advice}")
    reader = _BY_KIND.get(kind, _READERS[suffix]) if kind else _READERS[suffix]
    notes = []
    if kind in _BY_KIND and reader is not _READERS[suffix]:
        notes.append(f"{kind.one} in spite of its name")
    if kind in _BY_KIND and bool(compression) != suffix.endswith(".gz"):
        notes.append(
            "compressed by gzip in spite of its name" if compression else "not compressed in spite of its name"
        )
    return _Container(reader, compression, tuple(notes))


def _decompressed(head: bytes) -> bytes:
    """What the first bytes of a gzip file hold; empty where they are damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _orientation(stored: Stored) -> tuple[tuple[int, ...], tuple[slice, ...], float]:
    """The stored axis for each of depth, height and width; how to turn it; and how far off the worst one is."""
    cosines = stored.steps / stored.spacing[:, None] @ _CANONICAL.T
    canonical = range(3)
    order = max(permutations(range(3)), key=lambda axes: float(np.abs(cosines[axes, canonical]).sum()))
    chosen = cosines[order, canonical]
    flips = tuple(slice(None, None, -1 if cosine < 0 else 1) for cosine in chosen)
    return order, flips, float(np.degrees(np.arccos(np.clip(np.abs(chosen).min(), 0, 1))))


def _read_voxels(stored: Stored, target: NDArray[np.uint8]) -> list[str]:
    """Fill `target`, of the stored shape, with grey levels, and say what was found wrong.

    Raises:
        ScanError: the file is damaged, or the values are not Hounsfield units.
    """
    scratch = np.empty(stored.shape[1:], dtype=np.float32)
    lowest, highest = np.inf, -np.inf
    gas = tissue = no_number = 0
    levels = np.zeros(_LEVELS, dtype=np.int64)
    for plane, grey in zip(stored.planes(), target, strict=True):
        no_number += _to_hounsfield(stored, plane, scratch)
        levels += _levels(scratch)
        lowest, highest = min(lowest, float(scratch.min())), max(highest, float(scratch.max()))
        _window(scratch)
        gas += int(np.count_nonzero((scratch >= _GAS[0]) & (scratch < _GAS[1])))
        tissue += int(np.count_nonzero((scratch >= _TISSUE[0]) & (scratch < _TISSUE[1])))
        grey[...] = scratch
    if min(gas, tissue) < _LEAST_SHARE * target.size:
        raise ScanError(
            f"{stored.file} is not in Hounsfield units (values from {lowest:g} to {highest:g}, "
            f"{'no gas' if gas < tissue else 'no tissue'} among them): give the CT as it came from the scanner, not "
            "windowed or rescaled, and keep label maps in a folder called masks"
        )
    _check_levels(stored.file, levels)
    return [f"{no_number} voxels without a number taken as air"] if no_number else []


def _levels(hounsfield: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many of some voxels of a plane lie in each step of `_STEP` from `_LOWEST`; the ends take the rest."""
    steps = np.clip((hounsfield[::3, ::3] - _LOWEST) / _STEP, 0, _LEVELS - 1).astype(np.intp)
    return np.bincount(steps.ravel(), minlength=_LEVELS)


def _check_levels(file: Path, levels: NDArray[np.int64]) -> None:
    """Refuse values that are shifted: hardly any soft tissue where it belongs, and much of it 1000 or so from there.

    The least value tells nothing: padding may be anything. Padding is one value, so that it fills one step alone; it
    is left out here.

    Raises:
        ScanError: the values are Hounsfield units shifted by 1000 or 1024, or not rescaled.
    """
    spread = levels.copy()
    alone = spread[1:-1] > 20 * np.maximum(spread[:-2], spread[2:])
    spread[1:-1][alone] = 0
    spread[[0, -1]] = 0
    total = max(int(spread.sum()), 1)

    def share(first: float, last: float) -> float:
        return float(spread[round((first - _LOWEST) / _STEP) : round((last - _LOWEST) / _STEP)].sum()) / total

    here, above = share(*_SOFT_TISSUE), share(*(edge + _SHIFT for edge in _SOFT_TISSUE))
    below = share(*(edge - _SHIFT for edge in _AIR))
    # Bone gets rarer the denser it is; shifted soft tissue is a peak above the gap that lung and fat leave.
    high = above >= _MUCH and above > share(_SOFT_TISSUE[1] + 100, _SHIFT + _SOFT_TISSUE[0])
    low = below >= _MUCH and here < _MUCH
    if not (high or low):
        return
    found, first = (above, _SOFT_TISSUE[0] + _SHIFT) if high else (below, _AIR[0] - _SHIFT)
    raise ScanError(
        f"{file} is not in Hounsfield units: its {'soft tissue' if high else 'air'} lies about 1000 too "
        f"{'high' if high else 'low'} ({found:.0%} of the voxels are near {first + 200:.0f}): apply the rescale slope "
        "and intercept, or export the scan again"
    )


def _to_hounsfield(stored: Stored, plane: NDArray, hounsfield: NDArray[np.float32]) -> int:
    """Write a plane's Hounsfield units into `hounsfield`; how many voxels hold no number, and became air."""
    with np.errstate(all="ignore"):
        hounsfield[...] = plane
        if (stored.slope, stored.intercept) != (1.0, 0.0):
            hounsfield *= np.float32(stored.slope)
            hounsfield += np.float32(stored.intercept)
    finite = np.isfinite(hounsfield)
    missing = finite.size - int(np.count_nonzero(finite))
    if missing:
        hounsfield[~finite] = WINDOW_HU[0]
    return missing


def _window(values: NDArray[np.float32]) -> None:
    """Hounsfield units → whole grey levels, in place. Whole units are rounded exactly: the product fits a float32."""
    low, high = WINDOW_HU
    np.clip(values, low, high, out=values)
    values -= np.float32(low)
    values *= np.float32(255)
    values /= np.float32(high - low)
    np.rint(values, out=values)
