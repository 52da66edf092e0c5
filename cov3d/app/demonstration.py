"""The command `demo`: the main job, end to end, on synthetic scans."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import Printer, out, say

if TYPE_CHECKING:
    from cov3d.api.demonstration import Settings, Step
    from cov3d.inference.validate import Validated


def demo(
    self: object,
    directory: Path = typer.Argument(Path("cov3d-demo"), help="Folder to write to."),
    quick: bool = Param(
        False,
        help="Show every step in about 90 seconds: 12 scans and one epoch, too few to learn from.",
        rich_help_panel="Dataset",
    ),
    scans: int = Param(
        None, min=12, help="Number of synthetic scans.", show_default="128; quick: 12", rich_help_panel="Dataset"
    ),
    seed: int = Param(0, min=0, help="Random seed of the scans and of the training.", rich_help_panel="Dataset"),
    epochs: int = Param(
        None, min=1, help="Passes over the training scans.", show_default="3; quick: 1", rich_help_panel="Training"
    ),
    overwrite: bool = Param(False, help="Replace an earlier demo in the folder.", rich_help_panel=options.OUTPUT),
    device: str = options.device(),
    jobs: int = options.jobs(),
) -> None:
    """Run the main job end to end on synthetic scans: phantom, folds, preprocess, train, validate, infer.

    Run it again to continue after an interruption.
    """
    from cov3d.api import demonstration
    from cov3d.errors import OutputError
    from cov3d.files import folder_lock

    if directory.is_symlink():
        raise OutputError(f"{directory} is a link: give the folder that it leads to")
    started = time.monotonic()
    settings = demonstration.settings(scans=scans, seed=seed, epochs=epochs, quick=quick)
    with folder_lock(directory, "cov3d demo", "wait until it ends, or give another folder", nests=True, removes=True):
        demonstration.begin(directory, settings, overwrite=overwrite, listener=Printer())
        steps = demonstration.steps(directory, settings, device, jobs)
        _say_plan(directory, settings, steps)
        validated = _run_all(self, directory, steps)
        pictures = demonstration.finish(directory)
    _print_results(directory, settings, validated, pictures, time.monotonic() - started)
    say("Each step by hand, in another folder:")
    for step in steps:
        say(f"  {step.line.replace(str(directory), f'{directory}-by-hand')}")
    if settings.learns:
        say("The scans are synthetic: these scores show that the tool works, and say nothing about patients.")
    else:
        say("The network has learned nothing from so little: for scores, run cov3d demo without --quick.")


def _say_plan(directory: Path, settings: "Settings", steps: list["Step"]) -> None:
    """Print what will happen, and how long it takes."""
    say(f"The demo takes about {settings.duration} on two cores, and writes to {directory}. Its steps:")
    for number, step in enumerate(steps, start=1):
        say(f"  {number}. {step.command}: {step.what}")
    if not settings.learns:
        say("It is too short for the network to learn: it shows the steps, and its scores mean nothing.")


def _run_all(self: object, directory: Path, steps: list["Step"]) -> "Validated":
    """Do every step that is not done, and return the validation."""
    from cov3d.api.demonstration import first_picture

    validated: Validated | None = None
    for step in steps:
        out().rule(f"[bold]{step.command}", align="left")
        say(f"$ {step.line}")
        if step.done is not None and step.done.exists():
            say(f"{step.done} is already there: this step is skipped")
        else:
            result = getattr(self, step.command)(**step.options)
            validated = result if step.command == "validate" else validated
        if step.command == "folds":
            say(f"first picture, a scan and its crop to the lungs: {first_picture(directory)}")
    assert validated is not None
    return validated


def _print_results(
    directory: Path, settings: "Settings", validated: "Validated", pictures: dict[str, Path], seconds: float
) -> None:
    """Print what was reached and where it is."""
    from rich import box
    from rich.table import Table

    from cov3d.api.demonstration import selection
    from cov3d.reports.tables import number

    table = Table(title="The demo in figures", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    if settings.learns:
        table.add_row("validation presence macro F1", f"[bold]{number(validated.presence.macro_f1)}")
        table.add_row("validation severity macro F1", number(validated.severity.macro_f1))
        if (chosen := selection(directory)) is not None:
            table.add_row("the epoch", str(chosen))
            for task, score in chosen.last.items():
                table.add_row(f"{task} macro F1 after the last epoch", number(score))
    table.add_row("scans validated", str(validated.presence.scans))
    table.add_row("time", f"{int(seconds // 60)} min {int(seconds % 60)} s")
    for name, file in pictures.items():
        table.add_row(name, str(file))
    out().print(table)
