"""What the commands print about files and folders that look like scans and were not taken."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cov3d.app.console import say_error, say_warning
from cov3d.app.data import say_failed

if TYPE_CHECKING:
    from cov3d.readers import LeftOut


def end_with(failed: Mapping[str, str], left_out: Sequence["LeftOut"], file: Path) -> None:
    """End a command that predicts: list the scans that failed, count what was left out.

    Leaves with exit code 3 if a scan failed, or if something was left out that is likely a scan.

    Args:
        failed: what is wrong with the scans that could not be read, by name.
        left_out: what was left out.
        file: the table that holds it.
    """
    likely = sum(left.is_scan for left in left_out)
    if likely:
        say_error(f"left out and not predicted: {likely} that look{'s' * (likely == 1)} like a scan; see {file}")
    elif left_out:
        say_warning(f"{len(left_out)} left out, none of which looks like a scan: {file}")
    say_failed(dict(failed))
    if likely:
        raise typer.Exit(3)
