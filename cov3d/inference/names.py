"""Names for scans given by path."""

import os
from collections.abc import Iterable
from pathlib import Path


def name_scans(scans: Iterable[Path]) -> dict[str, Path]:
    """Each scan's path by its name: its path relative to the deepest folder that all the scans share."""
    # Not resolve(): a scan behind a link keeps the name that it was given by.
    absolute = {Path(os.path.abspath(scan)): scan for scan in scans}  # noqa: PTH100
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return {path.relative_to(shared).as_posix(): scan for path, scan in sorted(absolute.items())}
