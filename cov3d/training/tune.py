"""A search for hyper-parameters with Optuna: trials are runs, their folder can be searched on after any kill.

What this file decides: a trial's score is that of its last epoch, not of its best, which is the highest of many noisy
numbers and flatters whoever jumps most. All trials train with one seed, so that they differ in what is searched alone.
A trial's draw depends on the seed, its number and the trials before it, so a search that was interrupted and goes on
draws what an unbroken one would have: Optuna's sampler begins anew with each process and would draw the same again.
A trial that was interrupted is done again, from its last epoch.
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
from cov3d.files import claim_folder, held, write_text
from cov3d.training import resume
from cov3d.training.learner import Run
from cov3d.training.options import TrainingOptions
from cov3d.training.search_space import Dimension, Objective, suggest
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.trials import Trial, of_optuna, table

STUDY, TRIALS, TABLE, BEST = "study.db", "trials", "trials.csv", "best.json"
_HEAVY = ("*.safetensors", "*.pt")

Train = Callable[[TrainingOptions, Path, Sequence[Tracker]], Run]
"""Trains one trial in a folder, or goes on with it if it was begun there."""


@dataclass(frozen=True)
class Tuning:
    """What a search is of; one folder holds trials of one search.

    Attributes:
        base: every option that is not searched.
        space: what is searched, by the names of `TrainingOptions`.
        objective: whose macro F1 is sought.
        prune: whether a trial is ended early that is worse than the median of those before at the same epoch.
        data: stands for the scans and what is trained from, so that other data is another search.
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
    trials: int,
    overwrite: bool = False,
    on_begin: Callable[[int, TrainingOptions], None] = lambda number, options: None,
    on_end: Callable[[Sequence[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Try options until `trials` trials have ended, those of earlier calls on the folder included.

    Args:
        tuning: what to search, and for what.
        train: trains a trial.
        folder: holds the study (SQLite), its table, and a small folder a trial.
        trials: how many, in all.
        overwrite: whether a search that is in the folder may go.
        on_begin: is told the number and the options of a trial that begins.
        on_end: is told all trials after each that ended.

    Raises:
        OutputError: the folder can't be written, another process searches in it, or it holds another search.
    """
    with _claimed(folder, overwrite), _study(folder, tuning) as study:
        ended = _ended(study, tuning)
        while len(ended) < trials:
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
        watch = _Watch(trial, tuning, options)
        try:
            run = _trained(train, options, folder, watch)
        except _PrunedError:
            _finish(study, trial, number, TrialState.PRUNED)
        except (TrainingDivergedError, DeviceMemoryError) as error:
            trial.set_user_attr("error", str(error))
            _finish(study, trial, number, TrialState.FAIL)
        else:
            rows = [{str(name): value for name, value in row.items()} for row in run.history.to_dict("records")]
            watch.report(rows)  # of a trial that had all its epochs when it was interrupted
            last = rows[-1]
            _finish(study, trial, number, TrialState.COMPLETE, tuning.objective.of(last))
    except BaseException:
        # Not ended, but interrupted: without a number it does not count, and is done again.
        with suppress(Exception):
            study.tell(trial, state=TrialState.FAIL)
        raise
    finally:
        # Learner and callbacks hold each other, and so the network: the next trial needs its memory.
        gc.collect()
        torch.cuda.empty_cache()
    for pattern in _HEAVY:
        for file in folder.glob(pattern):
            file.unlink()


def _trained(train: Train, options: TrainingOptions, folder: Path, watch: "_Watch") -> Run:
    try:
        return train(options, folder, [watch])
    except CheckpointError:
        if not (folder / resume.FILE_NAME).exists():
            raise
        # An interrupted trial of other options is in its folder: another version of Optuna draws otherwise.
        shutil.rmtree(folder)
        return train(options, folder, [watch])


def _finish(
    study: optuna.Study, trial: optuna.Trial, number: int, state: TrialState, score: float | None = None
) -> None:
    trial.set_user_attr("number", number)
    study.tell(trial, score, state=state)


class _PrunedError(Cov3dError):
    """A trial is worse than the median of those before."""


class _Watch(Tracker):
    """Tells Optuna the score after every epoch, and ends a trial that Optuna gives up."""

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
        """Report the epochs that were not: all of them in a trial that was gone on with."""
        for row in rows[self.reported :]:
            self.reported = int(row["epoch"])
            self.trial.report(self.tuning.objective.of(row), self.reported)
            last = {name: float(row[name]) for name in ("epoch", "presence_f1", "severity_f1")}
            self.trial.set_user_attr("last", last)


def _ended(study: optuna.Study, tuning: Tuning) -> list[Trial]:
    """The trials that have ended, in order; those that were interrupted have no number."""
    return [of_optuna(found, tuning.space) for found in study.get_trials() if "number" in found.user_attrs]


@contextmanager
def _claimed(folder: Path, overwrite: bool) -> Iterator[None]:
    """Hold the folder for this process; `overwrite` empties it of an earlier search."""
    with held(folder, "search"):
        if overwrite:
            claim_folder(folder, (STUDY, TRIALS, TABLE, BEST), overwrite=True, what="a search")
        yield


@contextmanager
def _study(folder: Path, tuning: Tuning) -> Iterator[optuna.Study]:
    """The study in the folder, begun if there is none, with the trials that were interrupted ended."""
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
        raise OutputError(f"{file} can't be read or written as a study of Optuna ({reason})") from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _pruner(tuning: Tuning) -> optuna.pruners.BasePruner:
    if not tuning.prune:
        return optuna.pruners.NopPruner()
    # Not before a third of the epochs: the 1cycle schedule still warms up.
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=ceil(tuning.base.epochs / 3))


def _check_same(study: optuna.Study, tuning: Tuning, folder: Path) -> None:
    """Refuse to go on with a search of other settings."""
    wanted = tuning.describe()
    found = study.user_attrs.get("search")
    if found is None:
        study.set_user_attr("search", wanted)
    elif found != wanted:
        differing = ", ".join(sorted(name for name in wanted if wanted[name] != found.get(name)))
        raise OutputError(
            f"{folder} holds another search (it differs in {differing or 'its version'}): give another --output-dir, "
            "or --overwrite"
        )
