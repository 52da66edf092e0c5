"""Search for hyper-parameters with Optuna. Each trial is a run. An interrupted search can be continued.

- The score of a trial is that of its last epoch. The best epoch's score, the maximum of many noisy numbers, would
  favour runs with large fluctuations.
- All trials have the same seed, so that they differ only in the searched options.
- The values drawn for a trial depend on the seed, the trial's number and the trials before. So a search that was
  interrupted draws the same values as one that was not. (Optuna's sampler starts again in each process and would
  repeat its draws.)
- An interrupted trial continues from its last epoch.
"""

import gc
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from fastai.callback.core import CancelFitException
from optuna.trial import TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cov3d.errors import CheckpointError, Cov3dError, DeviceMemoryError, OutputError, TrainingDivergedError
from cov3d.files import claim_folder, folder_lock, write_text
from cov3d.training import resume
from cov3d.training.learner import Run
from cov3d.training.options import TrainingOptions
from cov3d.training.search_space import Dimension, Objective, suggest
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.trials import Trial, from_optuna, table

STUDY, TRIALS, TABLE, BEST = "study.db", "trials", "trials.csv", "best.json"
_HEAVY = ("*.safetensors", "*.pt")

Train = Callable[[TrainingOptions, Path, Sequence[Tracker]], Run]
"""Trains one trial in a folder, or resumes it."""


@dataclass(frozen=True)
class Tuning:
    """The settings of a search. A folder holds the trials of one search.

    Attributes:
        base: the options that are not searched.
        space: the searched options, by the names of `TrainingOptions`.
        objective: the macro F1 to maximise.
        prune: whether to stop a trial that is worse than the median of earlier trials at the same epoch.
        data: identifies the scans and the initial weights; a search can't be continued with others.
    """

    base: TrainingOptions
    space: dict[str, Dimension]
    objective: Objective
    prune: bool = True
    data: str = ""

    def describe(self) -> dict[str, Any]:
        """The search as plain values."""
        options = {name: value for name, value in asdict(self.base).items() if name not in self.space}
        space = {name: str(dimension) for name, dimension in self.space.items()}
        plain = {"search": space, "objective": self.objective, "prune": self.prune, "data": self.data} | options
        return json.loads(json.dumps(plain, default=list))


def search(
    tuning: Tuning,
    train: Train,
    folder: Path,
    *,
    n_trials: int,
    overwrite: bool = False,
    on_begin: Callable[[int, TrainingOptions], None] = lambda number, options: None,
    on_end: Callable[[Sequence[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Run trials until `n_trials` are finished, including those of earlier calls on the folder.

    Args:
        tuning: settings of the search.
        train: trains a trial.
        folder: for the study (SQLite), its table, and a small folder for each trial.
        n_trials: total number of trials.
        overwrite: whether to delete an earlier search in the folder.
        on_begin: called with number and options when a trial begins.
        on_end: called with all finished trials when a trial ends.

    Raises:
        OutputError: the folder can't be written, is used by another process, or holds another search.
    """
    with _claimed(folder, overwrite), _study(folder, tuning) as study:
        ended = _ended(study, tuning)
        while len(ended) < n_trials:
            number = len(ended) + 1
            _try_one(study, tuning, train, folder / TRIALS / str(number), number, on_begin)
            ended = _ended(study, tuning)
            write_text(folder / TABLE, table(ended).to_csv(index=False, lineterminator="\n"))
            on_end(ended)
        return ended


def _try_one(
    study: optuna.Study,
    tuning: Tuning,
    train: Train,
    folder: Path,
    number: int,
    on_begin: Callable[[int, TrainingOptions], None],
) -> None:
    seed = int(np.random.SeedSequence([tuning.base.seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    trial = study.ask()
    try:
        options = suggest(tuning.space, trial, tuning.base)
        trial.set_user_attr("options", json.loads(json.dumps(asdict(options), default=list)))
        on_begin(number, options)
        watch = _TrialReporter(trial, tuning, options)
        try:
            run = _trained(train, options, folder, watch)
        except _PrunedError:
            _finish(study, trial, number, TrialState.PRUNED)
        except (TrainingDivergedError, DeviceMemoryError) as error:
            trial.set_user_attr("error", str(error))
            _finish(study, trial, number, TrialState.FAIL)
        else:
            rows = [{str(name): value for name, value in row.items()} for row in run.history.to_dict("records")]
            watch.report(rows)  # the trial may have finished all its epochs before it was interrupted
            last = rows[-1]
            _finish(study, trial, number, TrialState.COMPLETE, tuning.objective.of(last))
    except BaseException:
        # Interrupted: without a number the trial does not count and is repeated.
        with suppress(Exception):
            study.tell(trial, state=TrialState.FAIL)
        raise
    finally:
        # Learner and callbacks refer to each other and keep the network alive: free its memory for the next trial.
        gc.collect()
        torch.cuda.empty_cache()
    for pattern in _HEAVY:
        for file in folder.glob(pattern):
            file.unlink()


def _trained(train: Train, options: TrainingOptions, folder: Path, watch: "_TrialReporter") -> Run:
    try:
        return train(options, folder, [watch])
    except CheckpointError:
        if not (folder / resume.FILE_NAME).exists():
            raise
        # The folder has an interrupted trial with other options: another version of Optuna draws other values.
        shutil.rmtree(folder)
        return train(options, folder, [watch])


def _finish(
    study: optuna.Study, trial: optuna.Trial, number: int, state: TrialState, score: float | None = None
) -> None:
    trial.set_user_attr("number", number)
    study.tell(trial, score, state=state)


class _PrunedError(Cov3dError):
    """A trial is worse than the median of earlier trials."""


class _TrialReporter(Tracker):
    """Reports the score to Optuna after each epoch, and ends a trial that Optuna prunes."""

    def __init__(self, trial: optuna.Trial, tuning: Tuning, options: TrainingOptions) -> None:
        super().__init__(options, warn=lambda sentence: None)
        self.trial, self.tuning = trial, tuning
        self.reported = 0

    def before_train(self) -> None:
        pass

    def after_batch(self) -> None:
        pass

    def after_epoch(self) -> None:
        self.report(self.learn.journal.rows)
        if self.reported < self.options.epochs and self.trial.should_prune():
            self.error = _PrunedError(f"pruned after epoch {self.reported}")
            raise CancelFitException

    def report(self, rows: Sequence[dict[str, Any]]) -> None:
        """Report the epochs that were not reported yet: all epochs in a resumed trial."""
        for row in rows[self.reported :]:
            self.reported = int(row["epoch"])
            self.trial.report(self.tuning.objective.of(row), self.reported)
            last = {name: float(row[name]) for name in ("epoch", "presence_f1", "severity_f1")}
            self.trial.set_user_attr("last", last)


def _ended(study: optuna.Study, tuning: Tuning) -> list[Trial]:
    """The finished trials, in order. Interrupted trials have no number."""
    return [from_optuna(found, tuning.space) for found in study.get_trials() if "number" in found.user_attrs]


@contextmanager
def _claimed(folder: Path, overwrite: bool) -> Iterator[None]:
    """Lock the folder for this process; `overwrite` deletes an earlier search in it."""
    with folder_lock(folder, "search"):
        if overwrite:
            claim_folder(folder, (STUDY, TRIALS, TABLE, BEST), overwrite=True, what="a search")
        yield


@contextmanager
def _study(folder: Path, tuning: Tuning) -> Iterator[optuna.Study]:
    """Open or create the study in the folder, and end its interrupted trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = folder / STUDY
    storage = None
    try:
        url = URL.create("sqlite", database=str(file.resolve())).render_as_string()
        storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(
            storage=storage,
            study_name="cov3d",
            load_if_exists=True,
            direction="maximize",
            pruner=_pruner(tuning),
        )
        _check_same(study, tuning, folder)
        for found in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(found.number, state=TrialState.FAIL)
        yield study
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(f"{file} can't be read or written as an Optuna study ({reason})") from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _pruner(tuning: Tuning) -> optuna.pruners.BasePruner:
    if not tuning.prune:
        return optuna.pruners.NopPruner()
    # Not in the first third of the epochs, in which the 1cycle schedule warms up.
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=ceil(tuning.base.epochs / 3))


def _check_same(study: optuna.Study, tuning: Tuning, folder: Path) -> None:
    """Check that the search in the folder has the same settings."""
    wanted = tuning.describe()
    found = study.user_attrs.get("search")
    if found is None:
        study.set_user_attr("search", wanted)
    elif found != wanted:
        differing = ", ".join(sorted(name for name in wanted if wanted[name] != found.get(name)))
        raise OutputError(
            f"{folder} holds another search (different {differing or 'version'}): give another --output-dir, or "
            "--overwrite"
        )
