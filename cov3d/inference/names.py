"""Names for scans given by path."""

import os
from collections.abc import Iterable
from pathlib import Path


def name_scans(scan_paths: Iterable[Path]) -> dict[str, Path]:
    """The path of each scan by its name, which is the path relative to the deepest common folder of all scans."""
    # Not resolve(): a scan given by a link is named by the link.
    absolute = {Path(os.path.abspath(scan)): scan for scan in scan_paths}  # noqa: PTH100
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return {path.relative_to(shared).as_posix(): scan for path, scan in sorted(absolute.items())}
