"""Find the runs of one configuration on each fold, and check that they match it.

A run is found by the options in its `config.json`, so its folder may have any name and come from any machine.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cov3d.errors import CheckpointError, Cov3dError
from cov3d.files import sha256
from cov3d.run_files import CONFIG
from cov3d.training import run_scans
from cov3d.training.options import TrainingOptions

if TYPE_CHECKING:  # it loads torch
    from cov3d.training.loaders import Fold

_DEPTH = 3
"""Depth of folders in which runs are searched."""


def find_runs(
    folder: Path, options: TrainingOptions, names: Mapping[int, str], *, from_checkpoint: bool
) -> dict[int, Path]:
    """The folder of each fold's run: the one with the given name, else the only one below `folder` with these options.

    A fold without a run gets the given name, as a folder that does not exist yet.

    Args:
        folder: to search.
        options: of the runs, except their fold.
        names: name of the folder that `cov3d train` makes, by fold.
        from_checkpoint: whether the runs start from a checkpoint; not compared for the paper's experiments.

    Raises:
        CheckpointError: several runs on a fold have these options.
    """
    found: dict[int, list[Path]] = {fold: [] for fold in names}
    if not all((folder / name).is_dir() for name in names.values()):
        for run in _runs_below(folder, _DEPTH):
            fold = _fold_of(run, options, from_checkpoint)
            if fold in found:
                found[fold].append(run)
    runs = {}
    for fold, name in names.items():
        others = [] if (folder / name).is_dir() else found[fold]
        if len(others) > 1:
            raise CheckpointError(
                f"fold {fold} was trained {len(others)} times with these options ({others[0]} and {others[1]}): move "
                "all but one out of the folder of runs"
            )
        runs[fold] = others[0] if others else folder / name
    return runs


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders of runs in a folder, including itself. The folders of runs are not searched."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        if any(entry.name == CONFIG for entry in entries):
            yield folder
            return
        below = [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:  # missing, or not readable
        return
    for each in below if depth else []:
        yield from _runs_below(each, depth - 1)


def _fold_of(run: Path, options: TrainingOptions, from_checkpoint: bool) -> int | None:
    """The fold of a run with these options; None if it has other options or can't be read."""
    try:
        config = read_config(run)
        if differing_options(run, replace(options, fold=config["options"]["fold"])):
            return None
    except Cov3dError:
        return None
    if options.experiment is None and from_checkpoint != (config["started_from"].get("kind") == "checkpoint"):
        return None
    return int(config["options"]["fold"])


def read_config(run: Path) -> dict[str, Any]:
    """The content of a run's `config.json`: `options` (with defaults for those of newer versions), `categories`, ….

    Raises:
        CheckpointError: it can't be read.
    """
    try:
        config = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        options = {**_plain(TrainingOptions()), **config["options"]}
        started_from = dict(config.get("started_from") or {})
        return {**config, "options": options, "categories": list(config["categories"]), "started_from": started_from}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{run / CONFIG} can't be read ({error}): train the fold again with --overwrite"
        ) from error


def _plain(options: TrainingOptions) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(options), default=list))


def differing_options(run: Path, options: TrainingOptions) -> list[str]:
    """Differences between options and those of a run, in words.

    Raises:
        CheckpointError: the run's options can't be read.
        Cov3dError: the options do not fit the run's categories.
    """
    config = read_config(run)
    before, now = config["options"], _plain(options.for_categories(config["categories"]))
    return [
        f"{name.replace('_', ' ')} was {before.get(name)}, now {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def differences(run: Path, options: TrainingOptions, fold: "Fold") -> list[str]:
    """Differences of options and scans from those of a run, in words; empty if there are none.

    Raises:
        CheckpointError: a file of the run can't be read.
        PredictionsError: a validation table of the run can't be read.
    """
    return [*differing_options(run, options), *run_scans.differences(run, fold)]


def check_finished(run: Path, options: TrainingOptions, fold: "Fold", from_checkpoint: Path | None) -> None:
    """Check that a finished run has the requested options, scans and initial weights.

    Args:
        run: folder of the run.
        options: requested.
        fold: the scans.
        from_checkpoint: the checkpoint to start from, if given.

    Raises:
        CheckpointError: the run differs.
    """
    differing = differences(run, options, fold)
    before = read_config(run)["started_from"].get("sha256")
    if from_checkpoint is not None and from_checkpoint.is_file() and before != sha256(from_checkpoint):
        differing.append(f"it did not start from {from_checkpoint}")
    if differing:
        raise CheckpointError(
            f"the finished run in {run} is different ({'; '.join(differing)}): give the options and the data that it "
            "was trained with, or train again with --overwrite"
        )


def check_alike(runs: Mapping[int, Path], preprocessing: str | None = None) -> None:
    """Check that runs have the same kind of initial weights and the same preprocessing.

    Args:
        runs: folders by fold.
        preprocessing: hash of the current settings, if a fold is not trained yet.

    Raises:
        CheckpointError: they differ; the message names two folders.
    """
    first: dict[str, tuple[Any, str]] = {}
    if preprocessing is not None:
        first["preprocessing"] = (preprocessing, "the folds that are not trained yet")
    for _, run in sorted(runs.items()):
        config = read_config(run)
        values = {
            "initial weights": (config["started_from"].get("kind"), config["started_from"].get("sha256")),
            "preprocessing": (config.get("preprocessing") or {}).get("hash"),
        }
        for what, value in values.items():
            before, other = first.setdefault(what, (value, str(run)))
            if value is not None and before != value:
                raise CheckpointError(
                    f"{run} and {other} differ in their {what}: only runs that differ in nothing but the fold can be "
                    "combined"
                )
