"""A single-file scan in Hounsfield units (NIfTI, MetaImage, NRRD) → Volume.

The header defines the order and direction of the axes. Each axis is assigned to the nearest axis of the patient; voxels
are not resampled.
"""

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import units
from cov3d.readers.grey import Levels, to_grey
from cov3d.readers.registry import container_of
from cov3d.readers.stored import Stored
from cov3d.volume import Geometry, Volume

_CANONICAL = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Directions of depth, height and width of a Volume, as (left, posterior, superior) of the patient."""

_NOTED_DEGREES = 3.0
_SPACING_MM = (0.01, 100.0)


def reader_of(name: str, read_header: Callable[[Path, str], Stored]) -> Callable[[Path, int], Volume]:
    """Make the `Format.read` of a single-file format from the function that reads its header."""

    def read(file: Path, threads: int) -> Volume:
        return read_image(file, name, read_header)

    return read


def read_image(file: Path, name: str, read_header: Callable[[Path, str], Stored]) -> Volume:
    """Read a scan in Hounsfield units from a single file.

    Args:
        file: the scan.
        name: name of the format.
        read_header: function that reads the header, given the file and its compression.

    Raises:
        ScanError: the file is damaged, is not one volume of plain numbers, or does not hold Hounsfield units.
    """
    container = container_of(file)
    stored = read_header(file, container.compression)
    order, flips, degrees = orientation(stored.steps)
    try:
        voxels = np.empty([stored.shape[axis] for axis in order], dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        size = " x ".join(map(str, stored.shape))
        raise ScanError(f"{file} has {size} voxels by its header, more than memory holds: is it damaged?") from error
    as_stored = voxels[flips].transpose(np.argsort(order))
    notes = [*container.notes, *stored.notes, *units.fill(file, lambda shift: _fill(stored, as_stored, shift))]
    if degrees > _NOTED_DEGREES:
        notes.append(f"axes {degrees:.0f} degrees off the patient's: the nearest taken")
    spacing, doubt = plausible_spacing([float(stored.spacing[axis]) for axis in order])
    return Volume(
        voxels=voxels,
        path=file,
        slices_found=len(voxels),
        spacing=spacing if stored.spacing_known else None,
        notes=(*notes, *doubt),
        format=name,
        orientation_known=stored.orientation_known,
        geometry=Geometry(stored.origin, stored.steps, order, tuple(flip.step < 0 for flip in flips)),
    )


def orientation(steps: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[slice, ...], float]:
    """The order and direction in which stored axes become those of a Volume.

    Args:
        steps: the step in millimetres from a voxel to the next along each stored axis, one axis per row, as (left,
            posterior, superior) of the patient.

    Returns:
        The stored axis of depth, height and width; the slices that flip them; and the largest angle in degrees between
        a stored axis and the axis of the patient.
    """
    cosines = steps / np.linalg.norm(steps, axis=1)[:, None] @ _CANONICAL.T
    canonical = range(3)
    order = max(permutations(range(3)), key=lambda axes: float(np.abs(cosines[axes, canonical]).sum()))
    chosen = cosines[order, canonical]
    flips = tuple(slice(None, None, -1 if cosine < 0 else 1) for cosine in chosen)
    return order, flips, float(np.degrees(np.arccos(np.clip(np.abs(chosen).min(), 0, 1))))


def plausible_spacing(millimetres: list[float]) -> tuple[tuple[float, float, float] | None, tuple[str, ...]]:
    """Spacing along depth, height and width; None, and a note, for values that no CT can have."""
    depth, height, width = (round(distance, 6) for distance in millimetres)  # float32 in NIfTI
    if _SPACING_MM[0] <= min(depth, height, width) and max(depth, height, width) <= _SPACING_MM[1]:
        return (depth, height, width), ()
    return None, (f"spacing left unknown: {depth:g} x {height:g} x {width:g} mm can't be a CT's",)


def _fill(stored: Stored, target: NDArray[np.uint8], shift: float) -> Iterator[Levels]:
    """Fill `target`, of the stored shape, with grey levels; `shift` is subtracted from the Hounsfield units first."""
    grey = np.empty(stored.shape[1:], dtype=np.uint8)
    for plane, into in zip(stored.planes(), target, strict=True):
        levels = to_grey(plane, grey, stored.slope, stored.intercept - shift)
        into[...] = grey
        yield levels
