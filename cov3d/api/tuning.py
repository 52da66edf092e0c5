"""A search for hyper-parameters: what `cov3d tune` does."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cov3d.api.given import Computation, computation, training_options
from cov3d.api.run_inputs import RunInputs, run_inputs
from cov3d.api.training import warn_of_one_class
from cov3d.api.tuning_result import TuningResult, write_best
from cov3d.challenge.experiments import check_start
from cov3d.challenge.run_names import run_name
from cov3d.errors import Cov3dError
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY, categories_of
from cov3d.listener import SILENT, Listener
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import learner, search_space
from cov3d.training import tune as searching
from cov3d.training.device import amp_mode
from cov3d.training.loaders import Fold, check_preprocessed, choose_fold
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.search_space import Dimension, Objective
from cov3d.training.start import Start
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.trials import Trial


def tune(
    data: str | Path = ".",
    *,
    trials: int = 20,
    objective: str = Objective.PRESENCE,
    search: Sequence[str] = (),
    prune: bool = True,
    fold: int | None = None,
    store: str | Path | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    compute: Compute | None = None,
    weights: str | Path | None = None,
    weights_dir: str | Path | None = None,
    from_checkpoint: str | Path | None = None,
    strict: bool = False,
    table: str | Path | None = None,
    listener: Listener = SILENT,
    **hyper_parameters: Any,
) -> TuningResult:
    """Search for hyper-parameters with Optuna; every trial is a run on the fold.

    Call it again to continue, after an interruption or with more trials.

    Args:
        data: root folder of the dataset.
        trials: how many, those that ended in the folder before included.
        objective: the macro F1 that is maximised, on the fold after the last epoch: `presence`, `severity` or `mean`.
        search: what to search: `NAME`, `NAME=LOW:HIGH` or `NAME=A,B`; by default what is searched well without
            another store or other weights, but for what is given as a hyper-parameter.
        prune: end a trial early that is worse than the median of those before it at the same epoch.
        fold: to validate on, from 0 to 4; 0 by default.
        store: folder of the preprocessed volumes; by default `preprocessed/SIZE` in `data`.
        output_dir: the search's folder; by default in `tuning` in `data`.
        overwrite: replace a search in the folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        compute: all of how a run is computed at once, in place of single fields.
        weights: as of `cov3d.train`; so are `weights_dir`, `from_checkpoint`, `strict` and `table`.
        listener: hears what is done and what a user should know.
        **hyper_parameters: fields of `TrainingOptions` and `Compute`; one that is given is not searched.

    Returns:
        The trials, and the best of them.

    Raises:
        Cov3dError: bad input; the sentence says what is wrong. Its subclasses: as of `cov3d.train`.
        TypeError: there is no such hyper-parameter.
    """
    if trials < 1:
        raise Cov3dError(f"trials is 1 or more, not {trials}")
    maximised = _objective(objective)
    chosen = training_options(None, hyper_parameters, fold)
    check_start(chosen.experiment, from_checkpoint)
    space = _space(search, chosen, {name for name, value in hyper_parameters.items() if value is not None})
    how = computation(device, compute, hyper_parameters)
    if how.world.size > 1:
        raise Cov3dError("cov3d tune trains in one process: start it without torchrun")
    amp_mode(chosen.precision, how.device)
    begins = {"weights": weights, "weights_dir": weights_dir, "from_checkpoint": from_checkpoint}
    given = run_inputs(data, listener, table=table, store=store, strict=strict, **begins)
    folder = Path(output_dir or given.data / "tuning" / f"{maximised}_{run_name(chosen, from_checkpoint)}")
    with listener.stoppable(f"{folder} holds every trial that has ended, and the same command continues"):
        trainer = _trainer(chosen, space, maximised, given, how)
        base = chosen.for_categories(trainer.categories)
        wanted = searching.Tuning(base, space, maximised, prune=prune, data=trainer.fingerprint())
        ended = _search(wanted, trainer, folder, chosen, given, trials=trials, overwrite=overwrite)
    return TuningResult(folder, tuple(ended), tuple(space), chosen, given)


def _objective(name: str) -> Objective:
    try:
        return Objective(name)
    except ValueError:
        raise Cov3dError(f"objective is one of {', '.join(Objective)}, not {name!r}") from None


def _space(search: Sequence[str], chosen: TrainingOptions, named: set[str]) -> dict[str, Dimension]:
    """What to search: what is asked for; else all that is searched by default but for options that are given."""
    given = named & set(search_space.RANGES)
    space = search_space.parse(search or [name for name in search_space.BY_DEFAULT if name not in given])
    for name in (name for name in space if name in given):
        word = search_space.option(name)
        raise Cov3dError(f"--{word} and --search {word} cannot be combined: give one of them")
    if "architecture" not in space and not chosen.architecture.has_dropout and "dropout" in space:
        if search:
            raise Cov3dError(f"--search dropout: {chosen.architecture} has none; leave it out, or take another network")
        del space["dropout"]
    if not space:
        raise Cov3dError("every option that is searched by default was given: name others with --search")
    return space


@dataclass(frozen=True)
class _Trainer:
    """Trains a trial; all that any trial needs is at hand.

    Attributes:
        fold: the scans.
        categories: of the dataset.
        stores: by size.
        starts: the weights to start from, by network.
        how: where and how it is computed.
        listener: hears of the trials.
    """

    fold: Fold
    categories: tuple[str, ...]
    stores: Mapping[Size, Store]
    starts: Mapping[Architecture, Start]
    how: Computation
    listener: Listener

    def train(self, trial: TrainingOptions, folder: Path, trackers: Sequence[Tracker]) -> learner.Run:
        """Train a trial in a folder, or continue it if it was begun there."""
        return learner.train(
            trial,
            self.fold,
            self.stores[trial.size],
            folder,
            device=self.how.device,
            continues=True,
            compute=self.how.compute,
            start=self.starts[trial.architecture],
            categories=self.categories,
            console=self.listener.console,
            trackers=trackers,
        )

    def fingerprint(self) -> str:
        """What stands for the data and the starting weights."""
        scans = "".join(scans.to_csv(index=False) for scans in (self.fold.train, self.fold.validation))
        begins = json.dumps({name: start.describe() for name, start in self.starts.items()}, sort_keys=True)
        return hashlib.sha256((scans + begins).encode()).hexdigest()[:12]


def _trainer(
    chosen: TrainingOptions, space: Mapping[str, Dimension], objective: Objective, given: RunInputs, how: Computation
) -> _Trainer:
    sizes = [Size(size) for size in space["size"].ends()] if "size" in space else [chosen.size]
    if given.store is not None and len(sizes) > 1:
        raise Cov3dError("--store is the store of one size: leave it out where several sizes are searched")
    named = space["architecture"].ends() if "architecture" in space else [chosen.architecture]
    networks = [Architecture(name) for name in named]
    starts = {name: given.start(replace(chosen, architecture=name, dropout=None)) for name in networks}
    stores = {size: given.open_store(size) for size in sizes}
    table = given.scan_table()
    categories = tuple(categories_of(table["label"]))
    for name, start in starts.items():
        start.check(name, categories)
    fold = choose_fold(table, chosen.fold)
    for opened in stores.values():
        check_preprocessed([*fold.train["scan"], *fold.validation["scan"]], opened)
    warn_of_one_class(fold, chosen.fold, given.listener)
    if objective != Objective.PRESENCE and set(fold.validation["label"]) <= {NON_COVID, UNKNOWN_SEVERITY}:
        raise Cov3dError(f"no scan of fold {chosen.fold} has a severity: give --objective presence")
    return _Trainer(fold, categories, stores, starts, how, given.listener)


def _search(
    wanted: searching.Tuning,
    trainer: _Trainer,
    folder: Path,
    chosen: TrainingOptions,
    given: RunInputs,
    *,
    trials: int,
    overwrite: bool,
) -> list[Trial]:
    listener = trainer.listener

    def on_begin(number: int, trial: TrainingOptions) -> None:
        drawn = ", ".join(f"{search_space.option(name)} {getattr(trial, name)}" for name in wanted.space)
        listener.say(f"trial {number} of {trials}: {drawn}")

    def on_end(ended: Sequence[Trial]) -> None:
        last = ended[-1]
        if last.error:
            listener.warn(f"trial {last.number} failed: {last.error}")
        else:
            pruned = f"pruned after epoch {last.epochs}"
            score = pruned if last.score is None else f"{wanted.objective} {last.score:.3f}"
            listener.say(f"trial {last.number}: {score}")
        write_best(folder, ended, chosen, wanted.objective, given)

    return searching.search(
        wanted, trainer.train, folder, n_trials=trials, overwrite=overwrite, on_begin=on_begin, on_end=on_end
    )
