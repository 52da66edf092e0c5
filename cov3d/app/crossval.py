"""The command `crossval`: one configuration on all of its folds, and what that says of it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import out, say, say_warning
from cov3d.app.scores import read_sources, score_centres, warn_of_small_classes
from cov3d.app.training import run_name
from cov3d.training.options import TrainingOptions

FOLDS = range(5)


def crossval(
    self: Any,
    store: Path = options.store(),
    sources: Path = options.sources(),
    output_dir: Path = Param(
        None,
        help="Folder of what is collected; the runs themselves are where cov3d train puts them.",
        show_default="DATA/runs/crossval_<experiment or options, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    temperature: bool = Param(
        True,
        help="Fit a temperature on the out-of-fold predictions and write it into the runs' checkpoints, unless it "
        "lowers macro F1.",
        rich_help_panel=options.OUTPUT,
    ),
    **kwargs: Any,
) -> Any:
    """Train a configuration on each of the five folds in turn, and put what the runs found together.

    With --fold, train on that one only, as in a job of an array; the command without it then collects. What is done is
    skipped, and what was interrupted goes on.
    """
    from cov3d.errors import Cov3dError
    from cov3d.inference.origin import write_origin
    from cov3d.reports import crossval as crossvalidation
    from cov3d.reports.score_figures import save_pictures
    from cov3d.reports.tables import evaluation_table
    from cov3d.training import distributed

    chosen = self.training_options(**kwargs)
    data: Path = kwargs["data"]
    runs = run_folders(data, chosen, kwargs.get("from_checkpoint"))
    only = kwargs["fold"]
    if only is None and distributed.launched().size > 1:
        raise Cov3dError("on several GPUs give --fold: one run of torchrun a fold, then cov3d crossval without both")
    table = self.scan_table(**kwargs)
    origin = read_sources(sources, table, table)
    for fold in FOLDS if only is None else [only]:
        if (runs[fold] / "summary.json").exists():
            say(f"fold {fold}: {runs[fold]} is finished")
        else:
            say(f"fold {fold}: {runs[fold]}")
            self.train(**{**kwargs, "fold": fold, "store": store, "output_dir": runs[fold], "resume": True})
    if only is not None:
        left = crossvalidation.unfinished(runs)
        say(f"folds {', '.join(map(str, left))} are not finished" if left else "all folds are finished")
        say("when they are, collect them: the same command without --fold")
        return None
    found = crossvalidation.collect(runs)
    folder = output_dir or data / "runs" / f"crossval_{_without_fold(runs[0].name)}"
    crossvalidation.save(found, folder)
    save_pictures(found.pooled, folder)
    seen = crossvalidation.seen_in_training(runs)
    networks = [Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix() for run in runs.values()]
    write_origin(folder, networks=networks, seen_in_training=seen)
    out().print(crossvalidation.fold_scores_table(found))
    for task, evaluation in found.pooled.items():
        out().print(evaluation_table(evaluation, f"{task}, out of fold, all folds pooled"))
    score_centres(found.tables, found.categories, origin, folder)
    warn_of_small_classes({task: evaluation.calls.small for task, evaluation in found.pooled.items()})
    for task, calibration in found.calibration.items() if temperature else ():
        _use_temperature(task, calibration, runs)
    say("A score selected on a fold flatters: the epoch was chosen for it.")
    say(f"out-of-fold predictions and scores in {folder}")
    return found


def _use_temperature(task: str, calibration: Any, runs: dict[int, Path]) -> None:
    """Say what the temperature does, and write it into the checkpoints of the task, or 1 where it does harm."""
    from cov3d.reports.tables import number
    from cov3d.training.checkpoint import read_info, write_temperature

    errors = f"calibration error {number(calibration.error_before)}, scaled {number(calibration.error_after)}"
    scores = f"macro F1 {number(calibration.f1_before)}, scaled {number(calibration.f1_after)}"
    value = f"temperature {calibration.temperature.value:.3g}"
    say(f"{task}: {value}; {errors}; {scores} (each fold by the temperature of the others)")
    if calibration.harm:
        say_warning(f"{task}: the temperature is not written: {calibration.harm}")
    for folder in runs.values():
        file = folder / f"{task}.safetensors"
        if file.exists() and not calibration.harm:
            write_temperature(file, calibration.temperature.value)
        elif file.exists() and read_info(file).temperature is not None:
            write_temperature(file, 1.0)  # that of an earlier collection


def run_folders(data: Path, chosen: TrainingOptions, from_checkpoint: Path | None) -> dict[int, Path]:
    """Where `cov3d train` puts the run of each fold."""
    return {fold: data / "runs" / run_name(replace(chosen, fold=fold), from_checkpoint) for fold in FOLDS}


def _without_fold(name: str) -> str:
    return "_".join(part for part in name.split("_") if not part.startswith("fold-"))
