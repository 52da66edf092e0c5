"""Commands on submissions: `check-submission`."""

from pathlib import Path
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import say, say_some
from cov3d.inference.line_format import LineFormat
from cov3d.inference.task import Task


def check_submission(
    self: Any,
    folder: list[Path] = typer.Argument(..., help="A folder of submission files; any number."),
    scans: list[Path] = Param(
        ..., help="The test scans: a folder of them at any depth; any number.", rich_help_panel=options.INPUT
    ),
    task: Task = Param(
        None,
        help="Whose files there should be. With both, the severity files hold the scans of covid.csv; with severity, "
        "every scan.",
        show_default="those of which there are any",
        rich_help_panel=options.INPUT,
    ),
    line_format: LineFormat = options.line_format(),
    allow_empty: bool = Param(
        False, help="Let a file be empty, as when no scan is called critical.", rich_help_panel=options.INPUT
    ),
) -> Any:
    """Check that each test scan stands in exactly one submission file, and nothing else does; print the counts."""
    from cov3d.errors import SubmissionError
    from cov3d.inference import check
    from cov3d.inference.names import name_scans
    from cov3d.readers import find_scans

    names = list(name_scans(find_scans(scans)))
    found = {}
    for one in folder:
        found[one] = check.check_submission(
            one,
            names,
            task=None if task is None else Task(task),
            line_format=LineFormat(line_format),
            allow_empty=allow_empty,
        )
        counts = ", ".join(f"{name} {count}" for name, count in found[one].counts.items())
        say(f"{one}: {len(names)} test scans; {counts or 'no file'}")
        say_some([f"{one}: {problem}" for problem in found[one].problems], most=50)
    if wrong := sum(len(checked.problems) for checked in found.values()):
        where = str(folder[0]) if len(folder) == 1 else f"these {len(folder)} folders"
        raise SubmissionError(f"{wrong} problem{'s' * (wrong > 1)} in {where}: not to be submitted like this")
    say("every test scan stands in exactly one file of its task, and nothing else does")
    return found
