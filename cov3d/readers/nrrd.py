"""Reads the header of an NRRD file: `.nrrd`, or `.nhdr` with its voxels in a file beside it.

pynrrd parses the header only: it does not notice damage in a gzip stream of voxels.
"""

import gzip
import math
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.image import reader_of
from cov3d.readers.kinds import NRRD
from cov3d.readers.registry import Format
from cov3d.readers.stored import Stored, damaged, data_beside, file_size, truncated, unknown, volume_shape

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
"""Factors that turn the axes of each space into (left, posterior, superior)."""
_COMPRESSIONS = {"raw": "", "gzip": "zlib", "gz": "zlib"}
_NO_SPACING = "the header holds no distance between voxels"
_NO_ORIENTATION = "the header holds no orientation: taken as stored from right to left, front to back, feet to head"


def read_header(file: Path, compression: str) -> Stored:
    """Read the header of a scan.

    Args:
        file: the scan.
        compression: `gzip` if the complete file is compressed, else empty.

    Raises:
        ScanError: the file is not an NRRD file, its header is damaged, or it is not one volume of plain numbers.
    """
    header, end = _fields(file, compression)
    try:
        axes = tuple(int(size) for size in header["sizes"])
        if len(axes) != int(header["dimension"]):
            raise ValueError
        kind, encoding = str(header["type"]).lower(), str(header["encoding"]).lower()
        skip, lines = int(header.get("byte skip", 0)), int(header.get("line skip", 0))
        steps, (spacing_known, orientation_known) = _steps(header, len(axes))
        origin = _origin(header)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise damaged(file, "the number, distance or direction of its voxels can't be read") from error
    if _has_vectors(header):
        raise ScanError(f"the voxels of {file} are colours or vectors: a scan is one volume of plain numbers")
    shape = volume_shape(file, axes)
    if kind not in _TYPES:
        raise damaged(file, "its voxels are of no known type")
    if encoding not in _COMPRESSIONS:
        raise ScanError(f"the voxels of {file} are stored as {encoding!r}: save the scan with the encoding raw or gzip")
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if header.get("endian") == "big" else "<")
    name = header.get("data file", header.get("datafile"))
    data = file if name is None else data_beside(file, str(name))
    whole = compression if data == file else ""
    if lines or (skip and _COMPRESSIONS[encoding]) or (skip < 0 and whole):
        raise ScanError(f"the voxels of {file} begin after lines or bytes to skip: save the scan again as .nrrd")
    offset = (end if data == file else 0) + max(skip, 0)
    if skip == -1:  # the voxels are the end of the file
        offset = max(file_size(data) - math.prod(shape) * dtype.itemsize, 0)
    return Stored(
        file=file,
        data=data,
        offset=offset,
        compression=f"{whole} {_COMPRESSIONS[encoding]}".strip(),
        shape=shape,
        dtype=dtype,
        steps=steps,
        origin=origin,
        spacing_known=spacing_known,
        orientation_known=orientation_known,
        notes=(*[_NO_SPACING] * (not spacing_known), *[_NO_ORIENTATION] * (not orientation_known)),
    )


def _fields(file: Path, compression: str) -> tuple[Mapping[str, Any], int]:
    """The header's values by field, and its length in bytes."""
    import nrrd

    try:
        with gzip.open(file) if compression else file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nrrd.read_header(stream), stream.tell()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(file) from error
    except OSError as error:
        raise ScanError(f"{file} can't be read: {error.strerror}") from error
    except (nrrd.NRRDError, ValueError, KeyError, IndexError, TypeError, UnicodeError) as error:
        raise unknown(file, "an NRRD file") from error


def _steps(header: Mapping[str, Any], axes: int) -> tuple[NDArray[np.float64], tuple[bool, bool]]:
    """`Stored.steps`, and whether the header holds distances and directions. ValueError if they can't be read."""
    signs = _SPACES.get(str(header.get("space", "")).lower())
    if "space directions" in header:
        directions = [row for row in header["space directions"] if row is not None and np.isfinite(row).all()]
        matrix = np.array(directions, dtype=np.float64)[:3]
        if matrix.shape != (3, 3):
            raise ValueError
        return (matrix * (signs or 1.0))[::-1], (True, signs is not None)
    spacings = header.get("spacings")
    if spacings is None or not np.isfinite(np.asarray(spacings[:3], dtype=np.float64)).all():
        return np.eye(3)[::-1], (False, False)
    return np.diag(np.abs(np.asarray(spacings[:3], dtype=np.float64)))[::-1], (True, False)


def _origin(header: Mapping[str, Any]) -> NDArray[np.float64]:
    """`Stored.origin`; zeros where the header holds none."""
    origin = np.asarray(header.get("space origin", ()), dtype=np.float64)[:3]
    if origin.shape != (3,) or not np.isfinite(origin).all():
        return np.zeros(3)
    return origin * (_SPACES.get(str(header.get("space", "")).lower()) or (1.0, 1.0, 1.0))


def _has_vectors(header: Mapping[str, Any]) -> bool:
    """Whether an axis holds colours or the parts of vectors."""
    kinds, sizes = header.get("kinds", []), header["sizes"]
    plain = ("domain", "space", "time", "list", "none", "???", "scalar", "stub")
    return any(str(kind).lower() not in plain and size > 1 for kind, size in zip(kinds, sizes, strict=False))


FORMAT = Format("NRRD", reader_of("NRRD", read_header), suffixes=(".nrrd", ".nhdr"), kinds=(NRRD,))
