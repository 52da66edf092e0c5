"""The command `demo`: the main job, end to end, on synthetic scans."""

import json
import time
from pathlib import Path
from typing import Any

import typer
from torchapp import Param

import cov3d
from cov3d.app import options
from cov3d.app.console import out, say
from cov3d.preprocessing.sizes import Size
from cov3d.run_files import checkpoint_name

_MARKER, _UNFINISHED = "demo.json", ".demo.json"
"""What says that a folder is a demo's: when it is finished, and before."""

_SIZE = Size.TINY

# From random weights and with few scans, larger steps than the paper's, which starts from Kinetics and takes 40 epochs.
_BATCH_SIZE, _LEARNING_RATE = 4, 1e-3


def demo(
    self: Any,
    directory: Path = typer.Argument(Path("cov3d-demo"), help="Folder to write to."),
    scans: int = Param(128, min=12, help="Number of synthetic scans.", rich_help_panel="Dataset"),
    seed: int = Param(0, min=0, help="Of the scans and of the training.", rich_help_panel="Dataset"),
    epochs: int = Param(5, min=1, help="Passes over the training scans.", rich_help_panel="Training"),
    overwrite: bool = Param(False, help="Replace an earlier demo in the folder.", rich_help_panel=options.OUTPUT),
    device: str = options.device(),
    jobs: int = options.jobs(),
) -> None:
    """Run the main job end to end on synthetic scans: phantom, folds, preprocess, train, validate, infer.

    Run it again to continue after an interruption.
    """
    from cov3d.errors import OutputError
    from cov3d.files import folder_lock

    if directory.is_symlink():
        raise OutputError(f"{directory} is a link: give the folder that it leads to")
    started = time.monotonic()
    with folder_lock(directory, "cov3d demo", "wait for it, or give another folder", nests=True, removes=True):
        _begin(directory, {"scans": scans, "seed": seed, "epochs": epochs}, overwrite=overwrite)
        validated, steps = _steps(self, directory, scans, seed, epochs, device, jobs)
        _close(directory, validated, steps, time.monotonic() - started)


def _steps(
    self: Any, directory: Path, scans: int, seed: int, epochs: int, device: str, jobs: int | None
) -> tuple[Any, list[str]]:
    """Do every step that is not done.

    Returns:
        The validation, and the command of each step.
    """
    run = _run(directory)
    checkpoints = {task: run / checkpoint_name(task) for task in ("presence", "severity")}
    steps: list[str] = []

    def step(command: str, done: Path | None = None) -> bool:
        steps.append(command)
        out().rule(f"[bold]{command.split()[1]}", align="left")
        say(f"$ {command}")
        if done is not None and done.exists():
            say(f"{done} is there: done before the demo was interrupted")
            return False
        return True

    command = f"cov3d phantom {directory} --scans {scans} --seed {seed} --resolution 256"
    if step(command, directory / "phantom_truth.csv"):
        self.phantom(directory=directory, scans=scans, seed=seed, resolution=256, jobs=jobs)
    if step(f"cov3d folds --data {directory}", directory / "scans.csv"):
        self.folds(data=directory, table=None)
    step(f"cov3d preprocess --data {directory} --size {_SIZE}")
    self.preprocess(data=directory, table=None, size=_SIZE, jobs=jobs)
    step(
        f"cov3d train --data {directory} --size {_SIZE} --no-pretrained --epochs {epochs} --batch-size {_BATCH_SIZE} "
        f"--learning-rate {_LEARNING_RATE} --seed {seed} --device {device} --output-dir {run}"
    )
    self.train(
        data=directory,
        table=None,
        size=_SIZE,
        pretrained=False,
        epochs=epochs,
        batch_size=_BATCH_SIZE,
        learning_rate=_LEARNING_RATE,
        seed=seed,
        device=device,
        output_dir=run,
        resume=True,
    )
    step(f"cov3d validate --data {directory} --checkpoint {checkpoints['presence']} --device {device}")
    how = {"device": device, "overwrite": True}
    validated = self.validate(data=directory, table=None, checkpoint=checkpoints["presence"], **how)
    for task, folder in (("presence", "task1"), ("severity", "task2")):
        to = directory / "submission" / task
        command = (
            f"cov3d infer --checkpoint {checkpoints[task]} --scans {directory / folder} --task {task} "
            f"--output-dir {to} --device {device}"
        )
        if step(command, to / "predictions.csv"):
            of = {"checkpoint": [checkpoints[task]], "scans": [directory / folder], "task": task}
            self.infer(**of, output_dir=to, device=device, jobs=jobs)
    return validated, steps


def _run(directory: Path) -> Path:
    return directory / "runs" / "demo"


def _begin(directory: Path, wanted: dict[str, int], *, overwrite: bool) -> None:
    """Begin a demo, or continue one of the same options; remove an earlier demo, and nothing that is not one."""
    from cov3d.errors import OutputError
    from cov3d.files import remove, write_text
    from cov3d.locks import FILE_NAME

    there = [path for path in directory.iterdir() if path.name != FILE_NAME]
    unfinished, finished = directory / _UNFINISHED, (directory / _MARKER).is_file()
    if there and not finished and not unfinished.is_file():
        raise OutputError(f"{directory} is not a folder of an earlier demo: give another folder")
    if there and not overwrite:
        if finished:
            raise OutputError(f"{directory} holds an earlier demo: give --overwrite, or another folder")
        try:
            before = json.loads(unfinished.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            before = None
        if before == wanted:
            say(f"continuing the demo in {directory}")
            return
        raise OutputError(
            f"{directory} holds an unfinished demo of other options ({before}, now {wanted}): give those, --overwrite, "
            "or another folder"
        )
    try:
        for path in there:
            remove(path)
    except OSError as error:
        raise OutputError(f"{directory} can't be emptied: {error.strerror or error}") from error
    write_text(unfinished, json.dumps(wanted) + "\n")


def _close(directory: Path, validated: Any, steps: list[str], seconds: float) -> None:
    """Draw the pictures, and print what was reached, where it is and how to do it by hand."""
    from rich import box
    from rich.table import Table

    from cov3d.datasets import scan_table
    from cov3d.evaluation.summary import selection_of_run
    from cov3d.files import write_text
    from cov3d.reports import figures
    from cov3d.reports.tables import number

    run = _run(directory)
    selection = selection_of_run(run, "presence")
    scans = scan_table.load(directory / scan_table.FILE_NAME)
    pictures = {"fold figure": directory / "folds.png", "crop": directory / "crop.png"}
    figures.save(figures.folds(scans), pictures["fold figure"])
    example = scans.loc[(scans["partition"] == "validation") & (scans["label"] == "moderate"), "scan"]
    figures.save(_crop_figure(directory / (example if len(example) else scans["scan"]).iloc[0]), pictures["crop"])

    write_text(directory / _MARKER, json.dumps({"made_by": "cov3d demo", "version": cov3d.__version__}) + "\n")
    (directory / _UNFINISHED).unlink(missing_ok=True)
    table = Table(title="The demo in figures", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("validation presence macro F1", f"[bold]{number(validated.presence.macro_f1)}")
    table.add_row("validation severity macro F1", number(validated.severity.macro_f1))
    if selection is not None:
        table.add_row("the epoch", str(selection))
        for task, score in selection.last.items():
            table.add_row(f"{task} macro F1 after the last epoch", number(score))
    table.add_row("scans validated", str(validated.presence.scans))
    table.add_row("time", f"{int(seconds // 60)} min {int(seconds % 60)} s")
    table.add_row("training curves", str(run / "curves.png"))
    for name, file in pictures.items():
        table.add_row(name, str(file))
    table.add_row("submission files", str(directory / "submission"))
    out().print(table)
    say("Each step by hand, in another folder:")
    for command in steps:
        say(f"  {command.replace(str(directory), f'{directory}-by-hand')}")
    say("The scans are synthetic: these scores say that the tool works, nothing about patients.")


def _crop_figure(scan: Path) -> Any:
    from cov3d.preprocessing.pipeline import locate
    from cov3d.readers import read_volume
    from cov3d.reports import crop_figure

    found = locate(read_volume(scan))
    return crop_figure.crop(
        found.volume.voxels, found.crop.box, found.segmentation, "Crop to the lungs (synthetic scan)"
    )
