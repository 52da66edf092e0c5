"""The demo: the complete work, step by step, on synthetic scans. Its folder, its steps, its pictures and results."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cov3d
from cov3d.datasets.scan_table import FILE_NAME as SCAN_TABLE
from cov3d.errors import OutputError
from cov3d.files import remove, write_text
from cov3d.listener import Listener
from cov3d.locks import FILE_NAME
from cov3d.preprocessing.sizes import Size
from cov3d.run_files import checkpoint_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cov3d.evaluation.summary import Selection

_MARKER, _UNFINISHED = "demo.json", ".demo.json"
"""What says that a folder is a demo's: when it is finished, and before."""

_SIZE, _RESOLUTION = Size.TINY, 128  # of slices in pixels a side: twice as many as a network's input has

# From random weights and with few scans, larger steps than the paper's, which starts from Kinetics and takes 40 epochs.
_BATCH_SIZE, _LEARNING_RATE = 2, 1e-3

# Seconds on two cores: for a start, for a scan to be made and preprocessed, and for one in an epoch of training.
_START, _SCAN, _EPOCH = 30, 0.35, 0.3


@dataclass(frozen=True)
class Settings:
    """What a demo is made of.

    Attributes:
        scans: number of synthetic scans, at least 12.
        seed: of the scans and of the training.
        epochs: passes over the training scans.
    """

    scans: int
    seed: int
    epochs: int

    @property
    def learns(self) -> bool:
        """Whether there is enough of it to learn from."""
        return self.scans * self.epochs >= 256

    @property
    def duration(self) -> str:
        """How long it takes, in words."""
        seconds = _START + self.scans * (_SCAN + self.epochs * _EPOCH)
        return f"{round(seconds / 60)} minutes" if seconds > 100 else f"{10 * round(seconds / 10)} seconds"


def settings(*, scans: int | None, seed: int, epochs: int | None, quick: bool) -> Settings:
    """The settings of a demo; what is None is chosen here: a quick one shows every step, and learns nothing."""
    usual_scans, usual_epochs = (12, 1) if quick else (128, 7)
    return Settings(usual_scans if scans is None else scans, seed, usual_epochs if epochs is None else epochs)


@dataclass(frozen=True)
class Step:
    """A command of the demo.

    Attributes:
        line: as typed.
        options: by name, as the command takes them.
        what: it does, in words.
        done: the file that is there once it is done; None for a command that finds out by itself.
    """

    line: str
    options: dict[str, Any]
    what: str
    done: Path | None = None

    @property
    def command(self) -> str:
        """Its name."""
        return self.line.split()[1]


def steps(directory: Path, demo: Settings, device: str, jobs: int | None) -> list[Step]:
    """Every step, in order."""
    where = {"data": directory, "table": None}
    run = directory / "runs" / "demo"
    presence = run / checkpoint_name("presence")
    return [
        Step(
            f"cov3d phantom {directory} --scans {demo.scans} --seed {demo.seed} --resolution {_RESOLUTION}",
            {"directory": directory, "scans": demo.scans, "seed": demo.seed, "resolution": _RESOLUTION, "jobs": jobs},
            f"make {demo.scans} synthetic scans",
            directory / "phantom_truth.csv",
        ),
        Step(
            f"cov3d folds --data {directory}",
            where,
            "find the scans and split them into folds",
            directory / SCAN_TABLE,
        ),
        Step(
            f"cov3d preprocess --data {directory} --size {_SIZE}",
            {**where, "size": _SIZE, "jobs": jobs},
            "crop every scan to its lungs, with pictures to check",
        ),
        _training(directory, demo, device, run),
        Step(
            f"cov3d validate --data {directory} --checkpoint {presence} --device {device}",
            {**where, "checkpoint": presence, "device": device, "overwrite": True},
            "score it on scans that it was not trained on",
        ),
        *(_inference(directory, task, folder, device, jobs) for task, folder in _TASKS),
    ]


_TASKS = (("presence", "task1"), ("severity", "task2"))
"""What is predicted, and of which folder of test scans."""


def _training(directory: Path, demo: Settings, device: str, run: Path) -> Step:
    return Step(
        f"cov3d train --data {directory} --size {_SIZE} --no-pretrained --epochs {demo.epochs} "
        f"--batch-size {_BATCH_SIZE} --learning-rate {_LEARNING_RATE} --channels-last --seed {demo.seed} "
        f"--device {device} --output-dir {run}",
        {
            "data": directory,
            "table": None,
            "size": _SIZE,
            "pretrained": False,
            "epochs": demo.epochs,
            "batch_size": _BATCH_SIZE,
            "learning_rate": _LEARNING_RATE,
            "channels_last": True,
            "seed": demo.seed,
            "device": device,
            "output_dir": run,
            "resume": True,
        },
        f"train a network for {demo.epochs} epoch{'s' * (demo.epochs > 1)}",
    )


def _inference(directory: Path, task: str, folder: str, device: str, jobs: int | None) -> Step:
    checkpoint, to = directory / "runs" / "demo" / checkpoint_name(task), directory / "submission" / task
    return Step(
        f"cov3d infer --checkpoint {checkpoint} --scans {directory / folder} --task {task} --output-dir {to} "
        f"--device {device}",
        {
            "checkpoint": [checkpoint],
            "scans": [directory / folder],
            "task": task,
            "output_dir": to,
            "device": device,
            "jobs": jobs,
        },
        f"predict {task} of the test scans",
        to / "predictions.csv",
    )


def begin(directory: Path, demo: Settings, *, overwrite: bool, listener: Listener) -> None:
    """Begin a demo in a folder that is held, or continue one of the same settings.

    An earlier demo is removed with `overwrite`, and nothing ever that is not one.

    Raises:
        OutputError: the folder holds something else, a finished demo or one of other settings, or can't be emptied.
    """
    wanted = asdict(demo)
    there = [path for path in directory.iterdir() if path.name != FILE_NAME]
    unfinished, finished = directory / _UNFINISHED, (directory / _MARKER).is_file()
    if there and not finished and not unfinished.is_file():
        raise OutputError(f"{directory} is not a folder of an earlier demo: give another folder")
    if there and not overwrite:
        if finished:
            raise OutputError(f"{directory} holds an earlier demo: give --overwrite, or another folder")
        before = _read(unfinished)
        if before == wanted:
            listener.say(f"continuing the demo in {directory}")
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


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def first_picture(directory: Path) -> Path:
    """Draw a scan and the crop to its lungs, once the folds are there.

    Returns:
        The picture's file.
    """
    from cov3d.datasets import scan_table
    from cov3d.reports import figures

    file = directory / "crop.png"
    scans = scan_table.load(directory / scan_table.FILE_NAME)
    example = scans.loc[(scans["partition"] == "validation") & (scans["label"] == "moderate"), "scan"]
    figures.save(_crop_figure(directory / (example if len(example) else scans["scan"]).iloc[0]), file)
    return file


def _crop_figure(scan: Path) -> "Figure":
    from cov3d.preprocessing.pipeline import locate
    from cov3d.readers import read_volume
    from cov3d.reports import crop_figure

    found = locate(read_volume(scan))
    return crop_figure.crop(
        found.volume.voxels, found.crop.box, found.segmentation, "Crop to the lungs (synthetic scan)"
    )


def finish(directory: Path) -> dict[str, Path]:
    """Draw the last picture and mark the folder as a demo that is done.

    Returns:
        What to look at, by its name.
    """
    from cov3d.datasets import scan_table
    from cov3d.reports import figures

    folds = directory / "folds.png"
    figures.save(figures.folds(scan_table.load(directory / scan_table.FILE_NAME)), folds)
    write_text(directory / _MARKER, json.dumps({"made_by": "cov3d demo", "version": cov3d.__version__}) + "\n")
    (directory / _UNFINISHED).unlink(missing_ok=True)
    return {
        "training curves": directory / "runs" / "demo" / "curves.png",
        "fold figure": folds,
        "crop": directory / "crop.png",
        "submission files": directory / "submission",
    }


def selection(directory: Path) -> "Selection | None":
    """How the epoch of the demo's network was chosen."""
    from cov3d.evaluation.summary import selection_of_run

    return selection_of_run(directory / "runs" / "demo", "presence")
