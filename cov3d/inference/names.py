"""Names for scans given by path."""

import os
from collections.abc import Iterable
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.inference.naming import NameBy
from cov3d.inference.short_names import hashed
from cov3d.readers import identity_of


def name_scans(scan_paths: Iterable[Path], by: NameBy = NameBy.PATH) -> dict[str, Path]:
    """The path of each scan by its name: the path relative to the deepest common folder of all scans, or a short name.

    Raises:
        ScanError: two scans belong to one series and are to be named by it.
    """
    # Not resolve(): a scan given by a link is named by the link.
    absolute = {Path(os.path.abspath(scan)): scan for scan in scan_paths}  # noqa: PTH100
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    named = {path.relative_to(shared).as_posix(): scan for path, scan in sorted(absolute.items())}
    return _short_names(named) if by == NameBy.SERIES else named


def _short_names(scans: dict[str, Path]) -> dict[str, Path]:
    """Short stable names in place of paths, which may hold a patient's name.

    Of a DICOM series the name is a hash of its UID; of other scans it is a hash of the name by path.

    Raises:
        ScanError: two scans are of one series.
    """
    named: dict[str, Path] = {}
    for name, path in scans.items():
        short = identity_of(path) or hashed("scan", name)
        if short in named:
            raise ScanError(f"{named[short]} and {path} are one series: give one of them, or name scans by path")
        named[short] = path
    return dict(sorted(named.items()))
