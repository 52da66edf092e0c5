"""A single-file scan as its header describes it, in any format, and its voxels, plane by plane.

The voxels are not read with SimpleITK. It returns truncated and damaged NIfTI and compressed MHA files as if they were
complete, ends the process on some damaged headers, and needs up to four bytes per voxel. Files are read as streams
instead: every checksum is verified, and only one plane is in memory.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.kinds import GZIP, ZEROS, kind_of_file
from cov3d.readers.registry import by_kind

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A volume as stored in its file.

    Attributes:
        file: the scan.
        data: the file of the voxels; another file than the scan for `.mhd` and `.nhdr`.
        offset: bytes before the first voxel in `data`, once decompressed.
        compression: `gzip` (the complete file), `zlib` (only the voxels), `gzip zlib` (both) or empty.
        shape: number of voxels along each axis, the slowest axis first.
        dtype: type of a voxel, with its byte order.
        steps: the step in millimetres from a voxel to the next along each axis of `shape`, one axis per row, as (left,
            posterior, superior) of the patient.
        origin: centre of the first voxel in millimetres, in the same directions; zeros if the header does not say.
        slope: Hounsfield units = slope x stored value + intercept.
        intercept: see `slope`.
        spacing_known: whether the header holds the distances between voxels.
        orientation_known: whether the header holds the directions of the axes.
        notes: notes on missing parts of the header.
    """

    file: Path
    data: Path
    offset: int
    compression: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    steps: NDArray[np.float64]
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    slope: float = 1.0
    intercept: float = 0.0
    spacing_known: bool = True
    orientation_known: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self._has_geometry():
            raise damaged(self.file, "the distance or direction of its voxels is zero or not a number")
        # Checked before memory is allocated for the size in a damaged header. Deflate compresses by 1032 at most.
        most = file_size(self.data) * 1032 ** len(self.compression.split())
        if self.offset + math.prod(self.shape) * self.dtype.itemsize > most:
            raise truncated(self.data)

    def _has_geometry(self) -> bool:
        lengths = np.linalg.norm(self.steps, axis=1)
        if not (np.isfinite(self.steps).all() and (lengths > 0).all()):
            return False
        return abs(float(np.linalg.det(self.steps / lengths[:, None]))) > 0.1

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Millimetres between voxels along each axis of `shape`."""
        return np.linalg.norm(self.steps, axis=1)

    def planes(self) -> Iterator[NDArray]:
        """The voxels, one plane of the slowest axis at a time, in an array that the next plane overwrites.

        Raises:
            ScanError: the file is truncated or damaged, or can't be opened.
        """
        plane = np.empty(self.shape[1:], dtype=self.dtype)
        window = memoryview(plane.view(np.uint8).reshape(-1).data)
        try:
            with self._open() as stream:
                for _ in range(self.shape[0]):
                    _fill(window, stream)
                    yield plane
                if self.compression:  # the checksum comes last
                    while stream.read(_CHUNK):
                        pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise truncated(self.data) from error
        except OSError as error:
            raise ScanError(f"{self.data} can't be read: {error.strerror}") from error

    @contextmanager
    def _open(self) -> Iterator[io.BufferedIOBase | io.RawIOBase]:
        with gzip.open(self.data) if self.compression.startswith("gzip") else self.data.open("rb") as stream:
            stream.seek(self.offset)
            yield _Inflated(stream) if self.compression.endswith("zlib") else stream


def damaged(file: Path, what: str) -> ScanError:
    """The error for an invalid header."""
    return ScanError(f"the header of {file} is damaged ({what}): copy the scan again, or export it again")


def truncated(file: Path) -> ScanError:
    """The error for a file that ends early or fails its checksum, or that is something else."""
    return _something_else(file) or ScanError(f"{file} is truncated or damaged: copy the scan again")


def unknown(file: Path, kind: str) -> ScanError:
    """The error for a file without the header of its format (`a NIfTI file`); it names the kind of the file."""
    return _something_else(file) or ScanError(f"{file} is damaged, or is not {kind}: copy the scan again")


def _something_else(file: Path) -> ScanError | None:
    kind = kind_of_file(file)
    format = by_kind(kind)
    if kind is None or kind in (GZIP, ZEROS) or (format is not None and format.is_single):
        return None
    return ScanError(f"{file} is {kind.one}: {kind.advice}")


def data_beside(file: Path, name: str) -> Path:
    """The file of voxels that a header names, in the folder of the header or below.

    Raises:
        ScanError: the header names several files, a file elsewhere, or one that does not exist.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise ScanError(f"the voxels of {file} are spread over many files: save the scan as one .mha or .nii.gz file")
    data = file.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not data.is_file():
        raise ScanError(f"the voxels of {file} are in another file, which is not beside it: copy both files")
    return data


def file_size(file: Path) -> int:
    """Bytes in a file.

    Raises:
        ScanError: it can't be read.
    """
    try:
        return file.stat().st_size
    except OSError as error:
        raise ScanError(f"{file} can't be read: {error.strerror}") from error


def volume_shape(file: Path, axes: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of a volume, slowest axis first, from the axes of a header, fastest first.

    Raises:
        ScanError: the axes are not those of one volume.
    """
    if any(voxels < 1 for voxels in axes):
        raise damaged(file, f"it has {' x '.join(map(str, axes))} voxels")
    if len(axes) < 3:
        raise ScanError(f"{file} is a picture of two dimensions: a scan is one volume of three")
    if any(voxels > 1 for voxels in axes[3:]):
        raise ScanError(f"{file} holds {math.prod(axes[3:])} volumes: give each in a file of its own")
    return axes[2], axes[1], axes[0]


def _fill(window: memoryview, stream: io.BufferedIOBase | io.RawIOBase) -> None:
    filled = 0
    while filled < len(window):
        got = stream.readinto(window[filled:])
        if not got:
            raise EOFError
        filled += got


class _Inflated(io.RawIOBase):
    """A zlib stream that is read like a file. A wrong checksum raises zlib.error, an early end EOFError."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(wbits=47)  # with the header of zlib or of gzip

    def readable(self) -> bool:
        return True

    def readinto(self, window: memoryview) -> int:  # type: ignore[override]
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._stream.read(_CHUNK)
            found = self._inflate.decompress(data, len(window))
            if found:
                window[: len(found)] = found
                return len(found)
            if not data and not self._inflate.eof:
                raise EOFError
        return 0
