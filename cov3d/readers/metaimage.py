"""Reads the header of a MetaImage file: `.mha`, or `.mhd` with its voxels in a file beside it.

The header consists of lines `Key = Value`; `ElementDataFile` is the last.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.image import reader_of
from cov3d.readers.kinds import METAIMAGE
from cov3d.readers.registry import Format
from cov3d.readers.stored import Stored, damaged, data_beside, file_size, truncated, unknown, volume_shape

_LAST = "ElementDataFile"
_MOST_HEADER = 1 << 20
_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    # MetaIO writes a long with four bytes, whatever the machine.
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_NO_SPACING = "the header holds no distance between voxels"
_NO_ORIENTATION = "the header holds no orientation: taken as stored from right to left, front to back, feet to head"


def read_header(file: Path, compression: str) -> Stored:
    """Read the header of a scan.

    Args:
        file: the scan.
        compression: `gzip` if the complete file is compressed, else empty.

    Raises:
        ScanError: the file is not a MetaImage, its header is damaged, or it is not one volume of plain numbers.
    """
    fields, end = _fields(file, compression)
    try:
        axes = tuple(map(int, fields["DimSize"].split()))
        if len(axes) != int(fields["NDims"]):
            raise ValueError
        channels = int(fields.get("ElementNumberOfChannels", 1))
        header_size = int(fields.get("HeaderSize", 0))
        steps, spacing_known, orientation_known = _steps(fields, len(axes))
        origin = _numbers(fields, ("Offset", "Position", "Origin"), len(axes))
    except (KeyError, ValueError) as error:
        raise damaged(file, "the number, distance or direction of its voxels can't be read") from error
    shape = volume_shape(file, axes)
    element = fields.get("ElementType", "")
    if channels != 1 or element.endswith("_ARRAY"):
        raise ScanError(f"the voxels of {file} are colours or vectors: a scan is one volume of plain numbers")
    if element not in _TYPES:
        raise damaged(file, "its voxels are of no known type")
    big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    dtype = np.dtype(_TYPES[element]).newbyteorder(">" if big else "<")
    voxels_compressed = _is_true(fields, "CompressedData")
    data = _data_file(file, fields)
    whole = compression if data == file else ""
    offset = end if data == file else header_size
    if header_size == -1 and not (voxels_compressed or whole):  # the voxels are the end of the file
        offset = file_size(data) - math.prod(shape) * dtype.itemsize
    return Stored(
        file=file,
        data=data,
        offset=max(offset, 0),
        compression=f"{whole} {'zlib' * voxels_compressed}".strip(),
        shape=shape,
        dtype=dtype,
        steps=steps,
        origin=np.zeros(3) if origin is None else origin[:3],
        spacing_known=spacing_known,
        orientation_known=orientation_known,
        notes=(*[_NO_SPACING] * (not spacing_known), *[_NO_ORIENTATION] * (not orientation_known)),
    )


def _fields(file: Path, compression: str) -> tuple[dict[str, str], int]:
    """The header's values by key, and its length in bytes."""
    fields: dict[str, str] = {}
    try:
        with gzip.open(file) if compression else file.open("rb") as stream:
            while _LAST not in fields and stream.tell() < _MOST_HEADER:
                key, equals, value = stream.readline(4096).decode("latin-1").partition("=")
                if not equals:
                    break
                fields[key.strip()] = value.strip()
            if fields.get(_LAST):
                return fields, stream.tell()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(file) from error
    except OSError as error:
        raise ScanError(f"{file} can't be read: {error.strerror}") from error
    raise unknown(file, "a MetaImage file")


def _steps(fields: Mapping[str, str], axes: int) -> tuple[NDArray[np.float64], bool, bool]:
    """`Stored.steps`, and whether the header holds distances and directions. ValueError if they can't be read."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), axes)
    directions = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), axes * axes)
    millimetres = np.ones(axes) if spacing is None else spacing
    matrix = (np.eye(axes).ravel() if directions is None else directions).reshape(axes, axes)[:3, :3]
    with np.errstate(all="ignore"):
        steps = matrix / np.linalg.norm(matrix, axis=1)[:, None] * np.maximum(millimetres, 0)[:3, None]
    return steps[::-1], spacing is not None, directions is not None


def _numbers(fields: Mapping[str, str], keys: tuple[str, ...], count: int) -> NDArray[np.float64] | None:
    for key in keys:
        if key in fields:
            numbers = np.array(fields[key].split(), dtype=np.float64)
            if numbers.size != count:
                raise ValueError
            return numbers
    return None


def _is_true(fields: Mapping[str, str], key: str) -> bool:
    return fields.get(key, "").lower() in ("true", "1")


def _data_file(file: Path, fields: Mapping[str, str]) -> Path:
    name = fields[_LAST]
    if not _is_true({"BinaryData": "True", **fields}, "BinaryData"):
        raise ScanError(f"the voxels of {file} are written as text: save the scan as a binary .mha or .nii.gz file")
    return file if name.upper() == "LOCAL" else data_beside(file, name)


FORMAT = Format("MetaImage", reader_of("MetaImage", read_header), suffixes=(".mha", ".mhd"), kinds=(METAIMAGE,))
