"""Names for scans given by path."""

import os
from collections.abc import Iterable
from pathlib import Path


def name_scans(scans: Iterable[Path]) -> dict[str, Path]:
    """Each scan's path by its name: its path relative to the deepest folder that all the scans share."""
    absolute = {Path(os.path.abspath(scan)): scan for scan in scans}
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return {path.relative_to(shared).as_posix(): scan for path, scan in sorted(absolute.items())}
