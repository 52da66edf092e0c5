"""A folder of JPEG slices → Volume; the format of COV19-CT-DB."""

from pathlib import Path

from cov3d.readers.kinds import JPEG
from cov3d.readers.registry import Format
from cov3d.readers.slices import SliceFormat, read_slices
from cov3d.volume import Volume

_SLICES = SliceFormat(JPEG, (".jpg", ".jpeg"))


def read(folder: Path, threads: int) -> Volume:
    """Read a folder of JPEG slices; see `read_slices`."""
    return read_slices(folder, threads, _SLICES)


FORMAT = Format("JPEG slices", read, slice_suffixes=_SLICES.suffixes)
