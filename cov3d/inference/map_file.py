"""Write a map of a crop as a NIfTI file that lies over the scan in a viewer.

The file has the axes and the position of the scan's own file. It holds int16 values with a scale, so that it takes half
the memory of float32; a step of the scale is 1/32767 of the map's largest value. Outside the crop it is 0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.files import replacing
from cov3d.inference.evidence import interpolated
from cov3d.preprocessing.crop import Box
from cov3d.volume import Geometry

_STEPS = 32767


def save_map(
    file: Path,
    density: NDArray[np.float32],
    box: Box,
    shape: tuple[int, int, int],
    geometry: Geometry | None,
    what: str,
) -> None:
    """Write a map.

    Args:
        file: ends in `.nii.gz`.
        density: float32 (depth, height, width), a grid over the crop.
        box: the crop, in voxels of the volume.
        shape: of the volume.
        geometry: where the volume's voxels are; None for a scan without positions (JPEG). Then the map's axes are the
            volume's, 1 mm apart.
        what: the values are, for the header (at most 79 characters).

    Raises:
        OutputError: the file can't be written.
    """
    import nibabel

    if geometry is None:
        steps = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        geometry = Geometry(np.array([0.0, 0.0, float(shape[0] - 1)]), steps)
    largest = float(np.abs(density).max())
    scale = largest / _STEPS or 1.0
    volume = np.zeros(shape, dtype=np.int16)
    volume[box.slices] = _resized(density, volume[box.slices].shape, scale)
    image = nibabel.Nifti1Image(geometry.to_file(volume).T, geometry.affine)
    image.header.set_slope_inter(scale, 0.0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = what.encode()[:79]
    with replacing(file) as aside:
        _write(image, aside)


def _write(image: "object", file: Path) -> None:
    """nibabel chooses compression by the name, and `aside` has another; the same input gives the same bytes."""
    import gzip

    with file.open("wb") as stream, gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed:
        image.to_stream(packed)  # type: ignore[attr-defined]


def _resized(density: NDArray[np.float32], shape: tuple[int, ...], scale: float) -> NDArray[np.int16]:
    """The map at the voxels of its box, in steps of the scale, one slice at a time."""
    planes = _along(density, shape[0], 0)
    found = np.empty(shape, dtype=np.int16)
    for plane, into in zip(planes, found, strict=True):
        into[...] = np.rint(_along(_along(plane, shape[1], 0), shape[2], 1) / scale)
    return found


def _along(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """`size` values over the length of an axis, between the centres of its cells."""
    places = (np.arange(size) + 0.5) * values.shape[axis] / size - 0.5
    return interpolated(values, places, axis)
