"""The command `crossval`: one configuration on all of its folds, and what that says of it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import Printer, out, say, say_error, say_warning
from cov3d.app.training import draw_missing_curves, run_name, warn_of_one_class
from cov3d.run_files import checkpoint_name
from cov3d.training.options import TrainingOptions

FOLDS = range(5)


def crossval(
    self: Any,
    store: Path = options.store(),
    sources: Path = options.sources(),
    runs: Path = Param(
        None,
        help="Folder of the runs. A fold whose run is in it is not trained again: a run is known by its options, "
        "whatever its folder is called.",
        show_default="DATA/runs",
        rich_help_panel=options.OUTPUT,
    ),
    output_dir: Path = Param(
        None,
        help="Folder of what is collected from the runs.",
        show_default="RUNS/crossval_<experiment or options, seed>",
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

    With --fold, train on that one only, as in a job of an array; the command without it then collects. Finished folds
    are skipped and interrupted ones resumed; a run of another scan table is refused.
    """
    from cov3d.api.evaluation import sources_of
    from cov3d.errors import Cov3dError
    from cov3d.evaluation import crossval as crossvalidation
    from cov3d.results import claimed
    from cov3d.training import distributed
    from cov3d.training.loaders import choose_fold

    chosen = self.training_options(**kwargs)
    only = kwargs["fold"]
    if only is None and distributed.launched().size > 1:
        raise Cov3dError("on several GPUs give --fold: one run of torchrun a fold, then cov3d crossval without both")
    below = runs or kwargs["data"] / "runs"
    folders = run_folders(below, chosen, kwargs.get("from_checkpoint"))
    table = self.scan_table(**kwargs)
    origin = dict(sources_of(sources, table["scan"]))
    wanted = list(FOLDS) if only is None else [only]
    _check_finished({fold: folders[fold] for fold in wanted}, chosen, table, kwargs.get("from_checkpoint"))
    name = _without_fold(run_name(replace(chosen, fold=0), kwargs.get("from_checkpoint")))
    folder = output_dir or below / f"crossval_{name}"
    with ExitStack() as stack:
        if only is None:
            how: dict[str, Any] = {"overwrite": True, "what": "a cross-validation", "command": "cov3d crossval"}
            stack.enter_context(options.elsewhere("--output-dir", output_dir))
            stack.enter_context(claimed(folder, crossvalidation.RESULT_FILES, **how))
        for fold in wanted:
            if crossvalidation.is_finished(folders[fold]):
                say(f"fold {fold}: {folders[fold]} is finished")
                draw_missing_curves(folders[fold])
                warn_of_one_class(choose_fold(table, fold), fold)
            else:
                say(f"fold {fold}: {folders[fold]}")
                with options.elsewhere("--runs", runs):
                    self.train(**{**kwargs, "fold": fold, "store": store, "output_dir": folders[fold], "resume": True})
        if only is not None:
            left = crossvalidation.unfinished(folders)
            say(f"folds {', '.join(map(str, left))} are not finished" if left else "all folds are finished")
            say("when they are, collect them: the same command without --fold")
            return None
        return _collect(folders, folder, origin, temperature=temperature)


def _collect(runs: dict[int, Path], folder: Path, origin: dict[str, str], *, temperature: bool) -> Any:
    """Put the runs together in `folder`; what was collected before stays until the new results are complete."""
    from cov3d.api.evaluation import score_sources, warn_of_small_classes
    from cov3d.evaluation import crossval as crossvalidation
    from cov3d.inference.origin import seen_by_runs, write_origin
    from cov3d.reports.score_figures import save_pictures
    from cov3d.reports.tables import centre_table, evaluation_table, fold_scores_table
    from cov3d.results import staged

    found = crossvalidation.collect(runs)
    with staged(folder, crossvalidation.RESULT_FILES) as to:
        crossvalidation.save(found, to)
        save_pictures(found.pooled, to)
        seen = seen_by_runs(runs)
        networks = [Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix() for run in runs.values()]
        write_origin(to, networks=networks, seen_in_training=seen)
        out().print(fold_scores_table(found))
        for task, evaluation in found.pooled.items():
            out().print(evaluation_table(evaluation, f"{task}, out of fold, all folds pooled"))
        if by_source := score_sources(found.tables, found.categories, origin, to):
            out().print(centre_table(by_source))
    warn_of_small_classes({task: evaluation.calls.small for task, evaluation in found.pooled.items()}, Printer())
    for task, calibration in found.calibration.items() if temperature else ():
        _use_temperature(task, calibration, runs)
    say("A score selected on a fold flatters: the epoch was chosen for it.")
    say(f"out-of-fold predictions and scores in {folder}")
    return found


def _use_temperature(task: str, calibration: Any, runs: dict[int, Path]) -> None:
    """Say what the temperature does, and write it into the checkpoints of the task, or 1 where it does harm."""
    from cov3d.errors import OutputError
    from cov3d.reports.tables import number
    from cov3d.training.checkpoint import read_info, write_temperature

    errors = f"calibration error {number(calibration.error_before)}, scaled {number(calibration.error_after)}"
    scores = f"macro F1 {number(calibration.f1_before)}, scaled {number(calibration.f1_after)}"
    value = f"temperature {calibration.temperature.value:.3g}"
    say(f"{task}: {value}; {errors}; {scores} (each fold by the temperature of the others)")
    if calibration.harm:
        say_warning(f"{task}: the temperature is not written: {calibration.harm}")
    for folder in runs.values():
        file = folder / checkpoint_name(task)
        try:
            if file.exists() and not calibration.harm:
                write_temperature(file, calibration.temperature.value)
            elif file.exists() and read_info(file).temperature is not None:
                write_temperature(file, 1.0)  # that of an earlier collection
        except OutputError as error:  # runs of others, which may only be read
            say_warning(f"{task}: the temperature is not written: {error}; copy the runs, or give --no-temperature")


def run_folders(folder: Path, chosen: TrainingOptions, from_checkpoint: Path | None) -> dict[int, Path]:
    """The folder of each fold's run: one with these options, else the one that `cov3d train` would make in `folder`."""
    from cov3d.training.fold_runs import find_runs

    names = {fold: run_name(replace(chosen, fold=fold), from_checkpoint) for fold in FOLDS}
    return find_runs(folder, chosen, names, from_checkpoint=from_checkpoint is not None)


def _check_finished(
    runs: Mapping[int, Path], chosen: TrainingOptions, table: Any, from_checkpoint: Path | None
) -> None:
    """Refuse finished runs that are of other options or of another scan table, before anything is trained."""
    from cov3d.errors import CheckpointError
    from cov3d.evaluation.crossval import is_finished
    from cov3d.preprocessing.pipeline import settings
    from cov3d.training.fold_runs import check_alike, check_finished
    from cov3d.training.loaders import choose_fold

    there = {fold: run for fold, run in runs.items() if is_finished(run)}
    wrong = []
    for fold, run in there.items():
        scans = choose_fold(table, fold)
        try:
            check_finished(run, replace(chosen, fold=fold), scans, from_checkpoint)
        except CheckpointError as error:
            wrong.append(fold)
            say_error(f"fold {fold}: {error}")
    if wrong:
        folds = ", ".join(map(str, wrong))
        raise CheckpointError(
            f"{len(wrong)} of {len(runs)} runs can't be used (folds {folds}): give the scan table that they were made "
            "with (--table), or move their folders elsewhere, and the same command trains these folds again"
        )
    check_alike(there, settings(chosen.size)["hash"] if len(there) < len(runs) else None)


def _without_fold(name: str) -> str:
    return "_".join(part for part in name.split("_") if not part.startswith("fold-"))
