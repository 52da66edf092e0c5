"""Commands on submissions: `submit`, which makes them, and `check-submission`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, out, say, say_some, say_warning
from cov3d.app.left_out import end_with
from cov3d.challenge.line_format import LineFormat
from cov3d.inference.task import Task

if TYPE_CHECKING:
    from cov3d.challenge.check import Checked
    from cov3d.challenge.submit import Written


def submit(
    self: object,
    which: str = Param(
        "paper",
        param_decls=("--set",),
        help="The submissions to make: paper, the ten of its section 6; or a CSV or JSON file with "
        "task,number,members,folds,threshold and, if wanted, fitted_temperature, such as cov3d ensemble writes.",
        metavar="paper|FILE",
        rich_help_panel=options.INPUT,
    ),
    data: Path = options.data(),
    runs: Path = Param(
        None, help="Folder of the experiments' runs.", show_default="DATA/runs", rich_help_panel=options.INPUT
    ),
    presence_scans: list[Path] = Param(
        None,
        help="Test scans of the presence task: a folder of them at any depth; any number.",
        show_default="DATA/task1",
        rich_help_panel=options.INPUT,
    ),
    severity_scans: list[Path] = Param(
        None, help="Those of the severity task.", show_default="DATA/task2", rich_help_panel=options.INPUT
    ),
    temperature: bool = Param(
        None,
        help="Apply the temperatures that crossval fitted.",
        show_default="as in each set; the paper's have none",
        rich_help_panel=options.INPUT,
    ),
    line_format: LineFormat = options.line_format(),
    output_dir: Path = Param(
        Path("submissions"),
        help="Folder of the results. Predictions of the networks are kept there and used again.",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    skip_errors: bool = options.skip_errors(),
    device: str = options.device(),
    jobs: int = options.jobs(),
    batch_size: int = options.batch_size(),
) -> "list[Written]":
    """Make sets of submission files from the runs of experiments: presence/1, presence/2, … severity/1, …

    Each scan is preprocessed once and each network predicts it once, however many sets it is in.
    """
    from cov3d.api import submissions
    from cov3d.readers.left_out import FILE_NAME as LEFT_OUT

    made = submissions.submit(
        which,
        data=data,
        runs=runs,
        presence_scans=presence_scans,
        severity_scans=severity_scans,
        temperature=temperature,
        line_format=line_format,
        output_dir=output_dir,
        overwrite=overwrite,
        skip_errors=skip_errors,
        device=device,
        jobs=jobs,
        batch_size=batch_size,
        listener=Printer(),
    )
    _say_written(made.written, output_dir)
    say(RESEARCH_ONLY)
    end_with(made.failed, made.left_out, output_dir / LEFT_OUT)
    return made.written


def _say_written(written: "list[Written]", folder: Path) -> None:
    from cov3d.reports.submissions import submission_table

    out().print(submission_table(written))
    for made in written:
        if empty := [name for name, count in made.counts.items() if not count]:
            verb = "is" if len(empty) == 1 else "are"
            say_warning(f"{folder / made.of.place}: {', '.join(empty)} {verb} empty: no scan has this prediction")
    say(f"results in {folder}; check a folder with cov3d check-submission")


def check_submission(
    self: object,
    folder: list[Path] = typer.Argument(..., help="A folder of submission files; any number."),
    scans: list[Path] = Param(
        ..., help="The test scans: a folder of them at any depth; any number.", rich_help_panel=options.INPUT
    ),
    task: Task = Param(
        None,
        help="The tasks whose files are expected. With both, the severity files hold the scans of covid.csv; with "
        "severity, "
        "every scan.",
        show_default="the tasks that have files",
        rich_help_panel=options.INPUT,
    ),
    line_format: LineFormat = options.line_format(),
    allow_empty: bool = Param(
        False, help="Allow an empty file, as when no scan is predicted critical.", rich_help_panel=options.INPUT
    ),
) -> "Mapping[Path, Checked]":
    """Check that each test scan stands in exactly one submission file, and nothing else does; print the counts."""
    from cov3d.api import submissions
    from cov3d.errors import SubmissionError

    made = submissions.check_submission(
        folder, scans, task=task, line_format=line_format, allow_empty=allow_empty, listener=Printer()
    )
    for one, checked in made.found.items():
        counts = ", ".join(f"{name} {count}" for name, count in checked.counts.items())
        say(f"{one}: {made.scans} test scans; {counts or 'no file'}")
        say_some([f"{one}: {problem}" for problem in checked.problems], most=50)
    if wrong := made.problems:
        where = str(folder[0]) if len(folder) == 1 else f"these {len(folder)} folders"
        raise SubmissionError(f"{wrong} problem{'s' * (wrong > 1)} in {where}: not to be submitted like this")
    say("every test scan stands in exactly one file of its task, and nothing else does")
    return made.found
