"""The header of a MetaImage file: `.mha`, or `.mhd` with its voxels in a file beside it.

The header is lines of `Key = Value`, of which `ElementDataFile` is the last.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.stored import Stored, damaged, file_size, truncated, unknown, volume_shape

_LAST = "ElementDataFile"
_MOST_HEADER = 1 << 20
_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    # MetaIO writes a long with four bytes, whatever the machine.
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
NO_SPACING = "the header holds no distance between voxels"
NO_ORIENTATION = "the header holds no orientation: taken as stored from right to left, front to back, feet to head"


def read_header(file: Path, compression: str) -> Stored:
    """What the header says of the scan.

    Args:
        file: the scan.
        compression: `gzip` where the whole file is compressed, else empty.

    Raises:
        ScanError: the file is no MetaImage, its header is damaged, or it is not one volume of plain numbers.
    """
    fields, end = _fields(file, compression)
    try:
        axes = tuple(map(int, fields["DimSize"].split()))
        if len(axes) != int(fields["NDims"]):
            raise ValueError
        channels = int(fields.get("ElementNumberOfChannels", 1))
        header_size = int(fields.get("HeaderSize", 0))
        steps, notes = _steps(fields, len(axes))
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
        notes=notes,
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


def _steps(fields: Mapping[str, str], axes: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """`Stored.steps` and what is not in the header. Raises ValueError where it can't be read."""
    notes = []
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), axes)
    if spacing is None:
        spacing = np.ones(axes)
        notes.append(NO_SPACING)
    directions = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), axes * axes)
    if directions is None:
        directions = np.eye(axes).ravel()
        notes.append(NO_ORIENTATION)
    matrix = directions.reshape(axes, axes)[:3, :3]
    with np.errstate(all="ignore"):
        steps = matrix / np.linalg.norm(matrix, axis=1)[:, None] * np.maximum(spacing, 0)[:3, None]
    return steps[::-1], tuple(notes)


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
    if name.upper() == "LOCAL":
        data = file
    elif name.upper().startswith("LIST") or "%" in name:
        raise ScanError(f"the voxels of {file} are spread over many files: save the scan as one .mha or .nii.gz file")
    else:
        data = file.parent / name
    if not _is_true({"BinaryData": "True", **fields}, "BinaryData"):
        raise ScanError(f"the voxels of {file} are written as text: save the scan as a binary .mha or .nii.gz file")
    if not data.is_file():
        raise ScanError(f"{file} says that its voxels are in {name}, which is not beside it: copy both files")
    return data
