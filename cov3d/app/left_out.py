"""The end of the commands that predict: the files and folders that are not predicted, and the exit code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cov3d.app.console import say_error, say_note, say_rows, say_warning
from cov3d.app.data import say_failed

if TYPE_CHECKING:
    from cov3d.readers import LeftOut

_MOST_SHOWN = 20


def end_with_table(
    failed: Mapping[str, str], left_out: Sequence["LeftOut"], passed_over: Sequence["LeftOut"], file: Path | None
) -> None:
    """End `infer`: name every file and folder that was given and is not predicted, once, with the reason.

    Leaves with exit code 3 if a scan failed, or if one of `left_out` is likely a scan.

    Args:
        failed: why scans could not be read, by name.
        left_out: files and folders that look like scans.
        passed_over: other files and folders.
        file: the table with all of them; None if nothing was written.
    """
    likely = [left for left in left_out if left.is_scan]
    others = [left for left in (*left_out, *passed_over) if not left.is_scan]
    rows = [*failed.items(), *((left.path.as_posix(), left.reason) for left in (*likely, *others))]
    if not rows:
        return
    lost = len(failed) + len(likely)
    what = f"{len(rows)} not predicted" + (f", {lost} likely a scan" if lost else "")
    say_rows(what, ("not predicted", "reason"), rows[:_MOST_SHOWN])
    if len(rows) > _MOST_SHOWN:
        say_note(f"… and {len(rows) - _MOST_SHOWN} more" + (f" in {file}" if file else ""))
    if lost:
        counts = [f"{len(failed)} could not be read"] * bool(failed)
        counts += [f"{len(likely)} left out that look{'s' * (len(likely) == 1)} like a scan"] * bool(likely)
        say_error(f"not predicted: {', '.join(counts)}" + (f"; see {file}" if file else ""))
        raise typer.Exit(3)


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
