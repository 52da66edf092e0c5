"""Path → Volume. Only the readers know formats.

A new format is a module with a `FORMAT` (see `registry`), a line here, and a test.
"""

from pathlib import Path

from cov3d.readers import dicom, jpeg, metaimage, nifti, nrrd, png, zipped
from cov3d.readers.discovery import Discovery, a_scan, check_format, discover, find_scans, format_at, identity_of
from cov3d.readers.left_out import LeftOut
from cov3d.readers.registry import Format, register
from cov3d.readers.search import FoundScan, search_scans, walk_scans
from cov3d.readers.threads import default_threads
from cov3d.volume import Volume

__all__ = [
    "A_SCAN",
    "Discovery",
    "Format",
    "FoundScan",
    "LeftOut",
    "discover",
    "find_scans",
    "identity_of",
    "read_volume",
    "register",
    "search_scans",
    "walk_scans",
]


def read_volume(path: Path, threads: int | None = None) -> Volume:
    """Read one scan: a folder of slices, a DICOM series or a file of it, or a file in Hounsfield units.

    Args:
        path: the folder or file.
        threads: threads that decode slices; None for as many as the machine has, up to eight. The volume does not
            depend on them.

    Raises:
        ScanError: the scan does not exist, is in no known format, is not in Hounsfield units, or can't be decoded.
    """
    check_format(path)
    return format_at(path).read(path, default_threads() if threads is None else threads)


register(jpeg.FORMAT)
register(png.FORMAT)
register(nifti.FORMAT)
register(metaimage.FORMAT)
register(nrrd.FORMAT)
register(dicom.FORMAT)
register(zipped.format_of_zip(lambda folder: find_scans([folder]), read_volume))

A_SCAN = a_scan()
"""A description of scans, for errors."""
