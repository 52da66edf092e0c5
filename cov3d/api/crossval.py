"""`cov3d.crossval`: one configuration on all of its folds, and what the runs found together."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cov3d.api import crossval_result, inputs, training
from cov3d.api.crossval_result import CrossValidationResult
from cov3d.api.evaluation import sources_of
from cov3d.api.given import compute_fields, training_options
from cov3d.api.run_inputs import RunInputs, run_inputs
from cov3d.api.tracking import Tracking
from cov3d.challenge.run_names import name_without_fold, run_name
from cov3d.datasets.folds import FOLDS
from cov3d.errors import CheckpointError, Cov3dError, OutputError
from cov3d.evaluation import crossval as crossvalidation
from cov3d.evaluation.crossval import is_finished
from cov3d.listener import SILENT, Listener
from cov3d.preprocessing.pipeline import settings
from cov3d.results import claimed
from cov3d.training import distributed
from cov3d.training.fold_runs import check_alike, check_finished, find_runs
from cov3d.training.loaders import choose_fold
from cov3d.training.options import Compute, TrainingOptions

if TYPE_CHECKING:
    import pandas as pd


def crossval(
    data: str | Path = ".",
    *,
    runs: str | Path | None = None,
    fold: int | None = None,
    collect: bool = False,
    output_dir: str | Path | None = None,
    temperature: bool = True,
    sources: str | Path | None = None,
    store: str | Path | None = None,
    device: str = "auto",
    options: TrainingOptions | None = None,
    compute: Compute | None = None,
    weights: str | Path | None = None,
    weights_dir: str | Path | None = None,
    from_checkpoint: str | Path | None = None,
    strict: bool = False,
    table: str | Path | None = None,
    trackers: Tracking | Sequence[str] = (),
    listener: Listener = SILENT,
    **hyper_parameters: Any,
) -> CrossValidationResult | None:
    """Train a configuration on each of the five folds in turn, and put what the runs found together.

    Finished folds are skipped and interrupted ones resumed; a run of another scan table is refused.

    Args:
        data: root folder of the dataset.
        runs: folder of the runs; by default `runs` in `data`. A run is known by its options, not by its name.
        fold: train on this fold only, as in a job of an array, and collect nothing.
        collect: collect finished runs and never train; runs that are missing are an error.
        output_dir: folder of what is collected; by default `crossval_…` in `runs`.
        temperature: write a temperature, fitted on the out-of-fold predictions, into the runs' checkpoints, unless it
            lowers macro F1.
        sources: a CSV file with the columns `scan,source`: the scores of each source's scans too.
        store: as of `cov3d.train`; so are `device`, `options`, `compute`, `weights`, `weights_dir`,
            `from_checkpoint`, `strict`, `table` and `trackers`.
        listener: hears what is done and what a user should know.
        **hyper_parameters: fields of `TrainingOptions` and `Compute`.

    Returns:
        What the runs found; None where only one fold was trained on.

    Raises:
        Cov3dError: bad input; the sentence says what is wrong. CheckpointError where finished runs are of other options
            or scans; its notes name the folds. Others: as of `cov3d.train`.
        TypeError: there is no such hyper-parameter.
    """
    if collect and fold is not None:
        raise Cov3dError("--collect and --fold cannot be combined: --collect always collects all folds")
    chosen = training_options(options, hyper_parameters, fold)
    if fold is None and distributed.launched().size > 1:
        raise Cov3dError(
            "crossval on several GPUs needs --fold: start one torchrun for each fold, then run cov3d crossval "
            "--collect without torchrun"
        )
    begins = {"weights": weights, "weights_dir": weights_dir, "from_checkpoint": from_checkpoint}
    given = run_inputs(data, listener, table=table, store=store, strict=strict, **begins)
    below = Path(runs or given.data / "runs")
    folders = _run_folders(below, chosen, given.from_checkpoint)
    scans = given.scan_table()
    source_by_scan = sources_of(sources, scans, scans)
    wanted = list(folders) if fold is None else [fold]
    _check_finished({number: folders[number] for number in wanted}, chosen, scans, given.from_checkpoint)
    if collect:
        _check_nothing_is_left(folders)
    folder = Path(output_dir or below / f"crossval_{name_without_fold(chosen, from_checkpoint)}")
    how = {"device": device, "compute": compute, "trackers": trackers, **compute_fields(hyper_parameters)}
    with ExitStack() as stack:
        if fold is None:
            stack.enter_context(inputs.elsewhere("--output-dir", output_dir))
            stack.enter_context(_claimed(folder))
        for number in wanted:
            with inputs.elsewhere("--runs", runs):
                _train_missing(replace(chosen, fold=number), folders[number], given, scans, how)
        if fold is None:
            return crossval_result.collect(folders, folder, source_by_scan, listener, temperature=temperature)
    _say_what_is_left(folders, listener)
    return None


def _run_folders(folder: Path, chosen: TrainingOptions, from_checkpoint: Path | None) -> dict[int, Path]:
    """The folder of each fold's run: one with these options, else the one that `cov3d train` would make in `folder`."""
    names = {fold: run_name(replace(chosen, fold=fold), from_checkpoint) for fold in range(FOLDS)}
    return find_runs(folder, chosen, names, from_checkpoint=from_checkpoint is not None)


def _check_finished(
    runs: Mapping[int, Path], chosen: TrainingOptions, scans: "pd.DataFrame", from_checkpoint: Path | None
) -> None:
    """Refuse finished runs that are of other options or of another scan table, before anything is trained."""
    there = {fold: run for fold, run in runs.items() if is_finished(run)}
    wrong = {}
    for fold, run in there.items():
        try:
            check_finished(run, replace(chosen, fold=fold), choose_fold(scans, fold), from_checkpoint)
        except CheckpointError as error:
            wrong[fold] = str(error)
    if wrong:
        folds = ", ".join(map(str, wrong))
        refused = CheckpointError(
            f"{len(wrong)} of {len(runs)} runs can't be used (folds {folds}): give the scan table that they were made "
            "with (--table), or move their folders elsewhere, and the same command trains these folds again"
        )
        for fold, sentence in wrong.items():
            refused.add_note(f"fold {fold}: {sentence}")
        raise refused
    check_alike(there, settings(chosen.size)["hash"] if len(there) < len(runs) else None)


def _claimed(folder: Path) -> AbstractContextManager[None]:
    files = crossvalidation.RESULT_FILES
    return claimed(folder, files, overwrite=True, what="a cross-validation", command="cov3d crossval")


def _train_missing(
    options: TrainingOptions, run: Path, given: RunInputs, scans: "pd.DataFrame", how: Mapping[str, Any]
) -> None:
    """Train on a fold whose run is not finished."""
    if is_finished(run):
        given.listener.say(f"fold {options.fold}: {run} is finished")
        training.draw_missing_curves(run, given.listener)
        training.warn_of_one_class(choose_fold(scans, options.fold), options.fold, given.listener)
        return
    given.listener.say(f"fold {options.fold}: {run}")
    training.train(**vars(given), **how, options=options, output_dir=run, resume=True)


def _say_what_is_left(folders: Mapping[int, Path], listener: Listener) -> None:
    left = crossvalidation.unfinished(folders)
    listener.say(f"folds {', '.join(map(str, left))} are not finished" if left else "all folds are finished")
    listener.say(f"{'when they are, ' if left else ''}collect them: the same command with --collect, without --fold")


def _check_nothing_is_left(folders: Mapping[int, Path]) -> None:
    """Refuse to collect while a fold's run is missing or not finished.

    Raises:
        OutputError: one is.
    """
    left = crossvalidation.unfinished(folders)
    if left:
        folds = ", ".join(map(str, left))
        raise OutputError(
            f"{len(left)} of {len(folders)} runs in {folders[left[0]].parent} are missing or not finished (folds "
            f"{folds}): run the same command with --fold {left[0]}{' and so on' if len(left) > 1 else ''} in place of "
            "--collect"
        )
