"""Path → Volume. A reader knows a format; nothing after this room does."""

from pathlib import Path

from cov3d.readers.image import read_image
from cov3d.readers.jpeg import read_jpeg_folder
from cov3d.readers.search import (
    A_SCAN,
    Discovery,
    Found,
    check_format,
    discover,
    find_scans,
    search_scans,
    walk_scans,
)
from cov3d.readers.threads import default_threads
from cov3d.readers.unread import LeftOut
from cov3d.volume import Volume

__all__ = [
    "A_SCAN",
    "Discovery",
    "Found",
    "LeftOut",
    "discover",
    "find_scans",
    "read_volume",
    "search_scans",
    "walk_scans",
]


def read_volume(path: Path, threads: int | None = None) -> Volume:
    """Read one scan: a folder of JPEG slices, or a NIfTI or MetaImage file in Hounsfield units.

    Args:
        path: the folder or file.
        threads: threads that decode slices; None for as many as the machine has, up to eight. The volume does not
            depend on them.

    Raises:
        ScanError: the scan does not exist, is of no known format, is not in Hounsfield units, or can't be decoded.
    """
    check_format(path)
    if path.is_dir():
        return read_jpeg_folder(path, default_threads() if threads is None else threads)
    return read_image(path)
