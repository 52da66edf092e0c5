"""A single-file scan in Hounsfield units (NIfTI, MetaImage) → Volume.

The axes are put into canonical order and direction by the header, with no voxel resampled: an axis goes to the
patient's axis that it lies nearest to. A file whose values can't be Hounsfield units is refused: to take it for a
scan all the same would give a prediction that looks like any other.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import metaimage, nifti
from cov3d.readers.stored import Stored
from cov3d.volume import WINDOW_HU, Volume, hounsfield_to_grey

_READERS = {".nii.gz": nifti, ".nii": nifti, ".mha": metaimage, ".mhd": metaimage}
SUFFIXES = tuple(_READERS)

_CANONICAL = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Where depth, height and width of a Volume go, as (left, posterior, superior) of the patient."""

_NOTED_DEGREES = 3.0
_SPACING_MM = (0.01, 100.0)
_LEAST_SHARE = 0.001
"""Of the voxels of a CT, at least so many are gas, and so many are tissue."""
_GAS = (1, round(hounsfield_to_grey(-300.0)))
_TISSUE = (round(hounsfield_to_grey(-200.0)), 255)


def is_image(name: str) -> bool:
    """Whether a file of this name is a single-file scan; a hidden one is not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def read_image(file: Path) -> Volume:
    """Read a scan in Hounsfield units from a single file.

    Raises:
        ScanError: the file is damaged, is not one volume of plain numbers, or does not hold Hounsfield units.
    """
    suffix = next(suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix))
    stored = _READERS[suffix].read_header(file)
    order, flips, degrees = _orientation(stored)
    try:
        voxels = np.empty([stored.shape[axis] for axis in order], dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        size = " x ".join(map(str, stored.shape))
        raise ScanError(f"{file} has {size} voxels by its header, more than memory holds: is it damaged?") from error
    as_stored = voxels[flips].transpose(np.argsort(order))
    notes = [*stored.notes, *_read_voxels(stored, as_stored)]
    if degrees > _NOTED_DEGREES:
        notes.append(f"axes {degrees:.0f} degrees off the patient's: the nearest taken")
    depth, height, width = (round(float(stored.spacing[axis]), 6) for axis in order)  # float32 in NIfTI
    spacing = None if metaimage.NO_SPACING in stored.notes else (depth, height, width)
    if spacing and not (_SPACING_MM[0] <= min(spacing) and max(spacing) <= _SPACING_MM[1]):
        spacing = None
        notes.append(f"spacing left unknown: {depth:g} x {height:g} x {width:g} mm can't be a CT's")
    return Volume(voxels=voxels, path=file, slices_found=len(voxels), spacing=spacing, notes=tuple(notes))


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
    for plane, grey in zip(stored.planes(), target, strict=True):
        no_number += _to_hounsfield(stored, plane, scratch)
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
    return [f"{no_number} voxels without a number taken as air"] if no_number else []


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
