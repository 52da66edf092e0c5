"""The command `tune`: a search for hyper-parameters with Optuna."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import out, say, say_warning, stoppable
from cov3d.app.data import store_folder
from cov3d.app.training import differing, run_name, warn_of_one_class
from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.training import search_space
from cov3d.training.options import TrainingOptions
from cov3d.training.search_space import Dimension, Objective

SEARCH = "Search"
_RANGES = "; ".join(f"{search_space.option(name)}={over}" for name, over in search_space.RANGES.items())


def tune(
    self: Any,
    trials: int = Param(
        20, min=1, help="How many trials, those that ended in the folder before included.", rich_help_panel=SEARCH
    ),
    objective: Objective = Param(
        Objective.PRESENCE,
        help="Whose macro F1 on the fold is sought, after the last epoch: the best epoch's would flatter.",
        rich_help_panel=SEARCH,
    ),
    search: list[str] = Param(
        [],
        help="What to search: NAME, NAME=LOW:HIGH or NAME=A,B; any number of times. What is not searched is as given. "
        f"The ranges: {_RANGES}.",
        show_default=", ".join(map(search_space.option, search_space.BY_DEFAULT)),
        rich_help_panel=SEARCH,
    ),
    prune: bool = Param(
        True,
        help="End a trial early that is worse than the median of those before it at the same epoch.",
        rich_help_panel=SEARCH,
    ),
    store: Path = options.store(),
    output_dir: Path = Param(
        None,
        help="The search's folder; a search that was begun in it goes on.",
        show_default="DATA/tuning/<objective, experiment or options, fold, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    **kwargs: Any,
) -> Any:
    """Search for hyper-parameters with Optuna: every trial is a run on the fold, and the best is told at the end.

    Run it again to go on, after an interruption or with more --trials.
    """
    from cov3d.challenge.experiments import check_start
    from cov3d.reports.tuning import trial_table
    from cov3d.training import tune as tuning
    from cov3d.training.device import amp_mode
    from cov3d.training.trials import Trial, best_of

    chosen = self.training_options(**kwargs)
    check_start(chosen.experiment, kwargs.get("from_checkpoint"))
    space = _space(search, chosen, kwargs)
    target, world, compute = self.compute_options(**kwargs)
    if world.size > 1:
        raise Cov3dError("cov3d tune trains in one process: start it without torchrun")
    amp_mode(chosen.precision, target)
    data: Path = kwargs["data"]
    folder = output_dir or data / "tuning" / f"{objective}_{run_name(chosen, kwargs.get('from_checkpoint'))}"
    with stoppable(f"{folder} holds every trial that has ended, and the same command goes on"):
        train, base, fingerprint = _trainer(self, chosen, space, objective, store, target, compute, kwargs)
        wanted = tuning.Tuning(base, space, objective, prune=prune, data=fingerprint)

        def on_begin(number: int, trial: TrainingOptions) -> None:
            drawn = ", ".join(f"{search_space.option(name)} {getattr(trial, name)}" for name in space)
            say(f"trial {number} of {trials}: {drawn}")

        def on_end(ended: Sequence[Trial]) -> None:
            last = ended[-1]
            if last.error:
                say_warning(f"trial {last.number} failed: {last.error}")
            else:
                score = f"pruned after epoch {last.epochs}" if last.score is None else f"{objective} {last.score:.3f}"
                say(f"trial {last.number}: {score}")
            _write_best(folder, best_of(ended), chosen, objective, kwargs)

        ended = tuning.search(
            wanted, train, folder, n_trials=trials, overwrite=overwrite, on_begin=on_begin, on_end=on_end
        )
    out().print(trial_table([trial.row() for trial in ended], tuple(space)))
    best = best_of(ended)
    if best is None:
        raise Cov3dError(f"none of the {len(ended)} trials came to its end: {folder / tuning.TABLE} says why")
    say(f"the best, trial {best.number}, was chosen on this fold, so its score flatters: try it on the others")
    say(f"train it: {_command(best.trained_with(chosen), kwargs)}")
    say(f"all trials: {folder / tuning.TABLE}; the best: {folder / tuning.BEST}")
    return ended


def _space(search: Sequence[str], chosen: TrainingOptions, kwargs: dict[str, Any]) -> dict[str, Dimension]:
    """What to search: what is asked for; else all that is searched by default but for options that are given."""
    given = {name for name in search_space.RANGES if kwargs.get(name) is not None}
    space = search_space.parse(search or [name for name in search_space.BY_DEFAULT if name not in given])
    for name in given & set(space):
        word = search_space.option(name)
        raise Cov3dError(f"--{word} and --search {word} contradict each other: give one of them")
    if "architecture" not in space and not chosen.architecture.has_dropout and "dropout" in space:
        if search:
            raise Cov3dError(f"--search dropout: {chosen.architecture} has none; leave it out, or take another network")
        del space["dropout"]
    if not space:
        raise Cov3dError("every option that is searched by default is given: name what to search with --search")
    return space


def _trainer(
    self: Any,
    chosen: TrainingOptions,
    space: dict[str, Dimension],
    objective: Objective,
    store: Path | None,
    target: Any,
    compute: Any,
    kwargs: dict[str, Any],
) -> tuple[Any, TrainingOptions, str]:
    """What trains a trial, all that any trial needs being at hand.

    Returns:
        It, the options `chosen` for the categories of the dataset, and what stands for data and starting weights.
    """
    from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY, categories_of
    from cov3d.preprocessing.store import Store
    from cov3d.training import learner
    from cov3d.training.loaders import check_preprocessed, choose_fold

    sizes = space["size"].ends() if "size" in space else (chosen.size,)
    if store is not None and len(sizes) > 1:
        raise Cov3dError("--store is the store of one size: leave it out where several sizes are searched")
    architectures = space["architecture"].ends() if "architecture" in space else (chosen.architecture,)
    starts = {
        name: self.starting_point(replace(chosen, architecture=Architecture(name), dropout=None), **kwargs)
        for name in architectures
    }
    stores = {size: Store.open(store_folder(kwargs["data"], store, size), size) for size in sizes}
    table = self.scan_table(**kwargs)
    categories = categories_of(table["label"])
    for name, start in starts.items():
        start.check(Architecture(name), categories)
    fold = choose_fold(table, chosen.fold)
    for opened in stores.values():
        check_preprocessed([*fold.train["scan"], *fold.validation["scan"]], opened)
    warn_of_one_class(fold, chosen.fold)
    if objective != Objective.PRESENCE and set(fold.validation["label"]) <= {NON_COVID, UNKNOWN_SEVERITY}:
        raise Cov3dError(f"no scan of fold {chosen.fold} has a severity: give --objective presence")

    def train(trial: TrainingOptions, folder: Path, trackers: Sequence[Any]) -> Any:
        return learner.train(
            trial,
            fold,
            stores[trial.size],
            folder,
            device=target,
            continues=True,
            compute=compute,
            start=starts[trial.architecture],
            categories=categories,
            console=out(),
            trackers=trackers,
        )

    scans = "".join(scans.to_csv(index=False) for scans in (fold.train, fold.validation))
    begins = json.dumps({name: start.describe() for name, start in starts.items()}, sort_keys=True)
    fingerprint = hashlib.sha256((scans + begins).encode()).hexdigest()[:12]
    return train, chosen.for_categories(categories), fingerprint


def _write_best(folder: Path, best: Any, chosen: TrainingOptions, objective: Objective, kwargs: dict[str, Any]) -> None:
    from cov3d.files import write_text
    from cov3d.training.tune import BEST

    if best is None:
        return
    content = {
        "trial": best.number,
        "objective": objective.value,
        "score": best.score,
        "presence_f1": best.presence_f1,
        "severity_f1": best.severity_f1,
        "options": {name: best.options[name] for name in best.searched},
        "command": _command(best.trained_with(chosen), kwargs),
    }
    write_text(folder / BEST, json.dumps(content, indent=2) + "\n")


def _command(best: TrainingOptions, kwargs: dict[str, Any]) -> str:
    """The command line that trains with the options `best`, on the data that was searched on."""
    words = ["cov3d", "train"]
    for name in ("data", "table", "weights", "weights_dir", "from_checkpoint"):
        if kwargs.get(name) is not None:
            words += [f"--{search_space.option(name)}", str(kwargs[name])]
    if best.experiment is None:
        words += ["--architecture", best.architecture.value, "--size", best.size.value]
    else:
        words += ["--experiment", str(best.experiment)]
    for name, value in {**differing(best), "fold": best.fold, "seed": best.seed}.items():
        word = search_space.option(name)
        if isinstance(value, bool):
            words.append(f"--{word}" if value else f"--no-{word}")
        else:
            words += [f"--{word}", *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)
