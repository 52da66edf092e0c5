"""The folder of a run: whose it is, what is in it, and in which state an earlier run left it."""

import json
from pathlib import Path
from typing import Any

from cov3d.errors import CheckpointError, OutputError
from cov3d.evaluation.summary import SUMMARY
from cov3d.files import claim_folder, remove_aside, write_text
from cov3d.labels import TASKS
from cov3d.run_files import CONFIG, CURVES, HISTORY, SCANS, checkpoint_name, validation_table
from cov3d.training import resume, run_scans
from cov3d.training.loaders import Fold
from cov3d.training.resume import ResumeState
from cov3d.training.tracking.values import TENSORBOARD_FOLDER, WANDB_FOLDER

RUN_FILES = (
    *(CONFIG, SCANS, HISTORY, SUMMARY, CURVES, resume.FILE_NAME),
    *(checkpoint_name(task) for task in TASKS),
    *(validation_table(task) for task in TASKS),
    *(TENSORBOARD_FOLDER, WANDB_FOLDER),
)


def is_finished(folder: Path) -> bool:
    """Whether a run in the folder came to its end: its summary is the last of its files."""
    return (folder / SUMMARY).exists()


def is_done_for_good(folder: Path) -> bool:
    """Whether a run in the folder is finished and its resume state was deleted since, to save space."""
    return is_finished(folder) and not (folder / resume.FILE_NAME).exists()


def begin(folder: Path, description: dict[str, Any], fold: Fold, *, overwrite: bool, continues: bool) -> None:
    """Claim the folder for a run that begins, and say in it what it is.

    Args:
        folder: the run's.
        description: what `config.json` will say.
        fold: the scans.
        overwrite: whether a run that is in it may go.
        continues: whether one would have been gone on with, had it left a state; what one without left stays.

    Raises:
        OutputError: there is a run in the folder that may not go, or the folder can't be written.
    """
    results = set(RUN_FILES) - {CONFIG, SCANS, TENSORBOARD_FOLDER, WANDB_FOLDER}  # what is there before an epoch ended
    if continues and any((folder / name).exists() for name in results):
        raise OutputError(
            f"the run in {folder} has no {resume.FILE_NAME} to go on from: give another --output-dir, or begin anew "
            "with --overwrite"
        )
    try:
        claim_folder(folder, RUN_FILES, overwrite=overwrite or continues, what="a run")
    except OutputError as error:
        if is_finished(folder) or not (folder / CONFIG).exists():
            raise
        raise OutputError(
            f"{folder} holds a run that was not finished: --resume goes on with it, --overwrite begins anew"
        ) from error
    remove_aside(folder)
    write_text(folder / CONFIG, json.dumps(description, indent=2, default=list) + "\n")
    run_scans.save(folder, fold)


def check_best_files(folder: Path, state: ResumeState) -> None:
    """Make sure that the weights of each task's best epoch are there, where they can't be made from the state.

    Raises:
        CheckpointError: a file was deleted.
    """
    for task, best in state.best.items():
        for name in (checkpoint_name(task), validation_table(task)):
            if best["epoch"] < state.epoch and not (folder / name).exists():
                raise CheckpointError(
                    f"{folder / name} of epoch {best['epoch']} is gone, and can't be made again from "
                    f"{resume.FILE_NAME}: begin anew with --overwrite"
                )
