"""Reads the header of a NIfTI file (`.nii`, `.nii.gz`) with nibabel."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.image import reader_of
from cov3d.readers.kinds import NIFTI, PAIR
from cov3d.readers.registry import Format
from cov3d.readers.stored import Stored, damaged, truncated, unknown, volume_shape

_HEADER_BYTES = {348: "Nifti1Header", 540: "Nifti2Header"}
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_NO_ORIENTATION = "the header holds no orientation: taken as stored from right to left, back to front, feet to head"


def read_header(file: Path, compression: str) -> Stored:
    """Read the header of a scan.

    Args:
        file: the scan.
        compression: `gzip` if the complete file is compressed, whatever its name; else empty.

    Raises:
        ScanError: the file is not a NIfTI file, its header is damaged, or it is not one volume of plain numbers.
    """
    from nibabel.spatialimages import HeaderDataError

    header = _header(file, compression)
    magic = bytes(header["magic"])
    if not magic.startswith(b"n+"):
        raise ScanError(f"{file} is not a NIfTI file, or only a part of one: give the scan as one .nii or .nii.gz file")
    shape = volume_shape(file, header.get_data_shape())
    try:
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        offset = int(header["vox_offset"])
    except (HeaderDataError, KeyError, ValueError, OverflowError) as error:
        raise damaged(file, "its voxels are of no known type, scale or place") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ScanError(f"the voxels of {file} are colours or vectors: a scan is one volume of plain numbers")
    affine, known = _affine(file, header)
    in_patient = _RAS_TO_LPS @ affine[:3] * _unit(header)
    return Stored(
        file=file,
        data=file,
        offset=max(offset, header.structarr.dtype.itemsize + 4),  # some writers leave 0
        compression=compression,
        shape=shape,
        dtype=dtype,
        steps=in_patient[:, :3].T[::-1],
        origin=in_patient[:, 3],
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        orientation_known=known,
        notes=() if known else (_NO_ORIENTATION,),
    )


def _header(file: Path, compression: str) -> Any:
    import nibabel

    try:
        with gzip.open(file) if compression else file.open("rb") as stream:
            block = stream.read(max(_HEADER_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(file) from error
    except OSError as error:
        raise ScanError(f"{file} can't be read: {error.strerror}") from error
    for order in ("little", "big"):
        size = int.from_bytes(block[:4], order)
        if size in _HEADER_BYTES and len(block) >= size:
            kind = getattr(nibabel, _HEADER_BYTES[size])
            return kind(block[:size], endianness="<" if order == "little" else ">", check=False)
    raise unknown(file, "a NIfTI file")


def _affine(file: Path, header: Any) -> tuple[NDArray[np.float64], bool]:
    """The first valid orientation of the header (sform, then qform), and True; or the format's default, and False.

    Raises:
        ScanError: the distances between voxels are invalid, and there is no sform to replace them.
    """
    from nibabel.spatialimages import HeaderDataError

    distances = np.abs(header["pixdim"][1:4])  # the sign has no meaning
    known = bool(np.isfinite(distances).all() and (distances > 0).all())
    header["pixdim"][1:4] = distances
    with np.errstate(all="ignore"):
        for coded in (header.get_sform, header.get_qform) if known else (header.get_sform,):
            try:
                affine, code = coded(coded=True)
            except (HeaderDataError, ValueError):  # invalid quaternions
                continue
            if code and np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]) != 0:
                return affine, True
        if not known:
            raise damaged(file, "the distance between its voxels is zero or not a number")
        return header.get_base_affine(), False


def _unit(header: Any) -> float:
    try:
        return _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    except KeyError:
        return 1.0


FORMAT = Format("NIfTI", reader_of("NIfTI", read_header), suffixes=(".nii.gz", ".nii"), kinds=(NIFTI, PAIR))
