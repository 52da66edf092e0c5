"""The folder of a run: its files, the state of an earlier run in it, and how a new run claims it."""

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
    """Whether the run in the folder is finished: its summary is written last."""
    return (folder / SUMMARY).exists()


def is_done_for_good(folder: Path) -> bool:
    """Whether the run in the folder is finished and its resume state was deleted, to save space."""
    return is_finished(folder) and not (folder / resume.FILE_NAME).exists()


def begin(folder: Path, description: dict[str, Any], fold: Fold, *, overwrite: bool, continues: bool) -> None:
    """Prepare the folder for a new run, and write its `config.json` and `fold.csv`.

    Args:
        folder: of the run.
        description: content of `config.json`.
        fold: the scans.
        overwrite: whether to delete an earlier run.
        continues: whether the user asked to resume. A run with results but without a resume state is then kept.

    Raises:
        OutputError: the folder has a run that must be kept, or can't be written.
    """
    results = set(RUN_FILES) - {CONFIG, SCANS, TENSORBOARD_FOLDER, WANDB_FOLDER}  # files written after an epoch
    if continues and any((folder / name).exists() for name in results):
        raise OutputError(
            f"the run in {folder} can't be resumed, because it has no {resume.FILE_NAME}: give another --output-dir, "
            "or start again with --overwrite"
        )
    try:
        claim_folder(folder, RUN_FILES, overwrite=overwrite or continues, what="a run")
    except OutputError as error:
        if is_finished(folder) or not (folder / CONFIG).exists():
            raise
        raise OutputError(
            f"{folder} holds an unfinished run: continue it with --resume, or start again with --overwrite"
        ) from error
    remove_aside(folder)
    write_text(folder / CONFIG, json.dumps(description, indent=2, default=list) + "\n")
    run_scans.save(folder, fold)


def check_best_files(folder: Path, state: ResumeState) -> None:
    """Check that the files of each task's best epoch exist, unless the resume state can restore them.

    Raises:
        CheckpointError: a file is missing.
    """
    for task, best in state.best.items():
        for name in (checkpoint_name(task), validation_table(task)):
            if best["epoch"] < state.epoch and not (folder / name).exists():
                raise CheckpointError(
                    f"{folder / name} of epoch {best['epoch']} is missing, and {resume.FILE_NAME} can't restore it: "
                    "start again with --overwrite"
                )
