"""Find the file of a prediction table in what a user gives: a table, a run, a cross-validation or a checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cov3d.errors import PredictionsError
from cov3d.inference.origin import networks_of
from cov3d.inference.task import Task
from cov3d.run_files import OUT_OF_FOLD, PREDICTIONS, VALIDATION, checkpoint_name, is_run, run_options
from cov3d.training.checkpoint import read_info


@dataclass(frozen=True)
class TableFile:
    """The file of a prediction table.

    Attributes:
        file: the table.
        run: the folder of the run that wrote it; None if no run did.
        given_as_run: whether the user gave the run or the cross-validation, not the table itself.
    """

    file: Path
    run: Path | None = None
    given_as_run: bool = False

    @property
    def is_crossval(self) -> bool:
        """Whether this is the table of a cross-validation whose folder was given."""
        return self.given_as_run and self.run is None

    @property
    def configuration(self) -> str:
        """Equal for tables of runs that differ only in the fold: the table's name and all other options."""
        if self.run is None:
            return str(self.file.resolve())
        options = run_options(self.run)
        del options["fold"]
        return json.dumps([self.file.name, options], sort_keys=True)

    def networks(self, table: pd.DataFrame) -> list[tuple[Path, "pd.Series[bool]"]]:
        """The checkpoints that predicted the table, each with its rows; empty if a checkpoint is missing."""
        task = self.file.stem.removeprefix(VALIDATION).removeprefix(OUT_OF_FOLD)
        if self.is_crossval:
            rows_of = {fold: table["fold"] == fold for fold in table["fold"].unique()} if "fold" in table else {}
            runs = {run_options(run)["fold"]: run for run in _runs_of(self.file.parent)}
        else:
            rows_of = {0: pd.Series(True, index=table.index)}
            runs = {} if self.run is None else {0: self.run}
        files = {fold: runs[fold] / checkpoint_name(task) for fold in rows_of if fold in runs}
        if len(files) < len(rows_of) or not all(file.is_file() for file in files.values()):
            return []
        return [(files[fold], rows) for fold, rows in rows_of.items()]


def _runs_of(crossval: Path) -> list[Path]:
    """The folders of a cross-validation's runs, as far as they exist."""
    return [run for network in networks_of(crossval) if is_run(run := crossval / network)]


def find_table(path: Path, task: Task) -> TableFile:
    """The prediction table that `path` stands for.

    Args:
        path: a prediction table, a folder with a `predictions.csv`, the folder of a run or of `cov3d crossval`, or a
            checkpoint.
        task: selects the table of a run or a cross-validation.

    Raises:
        PredictionsError: there is no table, or the task does not select one.
        CheckpointError: the checkpoint can't be read.
    """
    if path.suffix == ".safetensors":
        return _table_beside(path)
    if path.is_dir() and is_run(path):
        return TableFile(path / f"{VALIDATION}{_one(task, path)}.csv", path, given_as_run=True)
    if path.is_dir():
        return _table_in(path, task)
    from_run = path.name.startswith(VALIDATION) and is_run(path.parent)
    return TableFile(path, path.parent if from_run else None)


def _table_beside(checkpoint: Path) -> TableFile:
    table = checkpoint.with_name(f"{VALIDATION}{read_info(checkpoint).task}.csv")
    if not table.is_file():
        raise PredictionsError(f"there is no {table.name} beside {checkpoint}: give the folder of its run, or a table")
    return TableFile(table, checkpoint.parent if is_run(checkpoint.parent) else None, given_as_run=True)


def _table_in(folder: Path, task: Task) -> TableFile:
    """The table in a folder that is no run."""
    if any(folder.glob(f"{OUT_OF_FOLD}*.csv")):
        return TableFile(folder / f"{OUT_OF_FOLD}{_one(task, folder)}.csv", given_as_run=True)
    if not (folder / PREDICTIONS).is_file():
        raise PredictionsError(f"{folder} is neither a run nor a folder with a {PREDICTIONS}")
    return TableFile(folder / PREDICTIONS)


def _one(task: Task, folder: Path) -> Task:
    """The task, which must not be `both`."""
    if task == Task.BOTH:
        raise PredictionsError(
            f"{folder} has a prediction table for each task: choose one with --task presence or --task severity"
        )
    return task
