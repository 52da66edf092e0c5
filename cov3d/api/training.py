"""`cov3d.train`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cov3d.api import inputs, tracking
from cov3d.api.given import Computation, computation, training_options
from cov3d.api.run_inputs import RunInputs, run_inputs
from cov3d.api.tracking import Tracking
from cov3d.challenge.experiments import check_start, find
from cov3d.challenge.run_names import run_name
from cov3d.datasets.synthetic import is_synthetic
from cov3d.errors import Cov3dError, OutputError
from cov3d.labels import STOIC_CATEGORIES, TASKS, categories_of
from cov3d.listener import SILENT, Listener
from cov3d.reports import figures
from cov3d.reports.tables import number
from cov3d.training import learner
from cov3d.training.checkpoint import seen_in_training
from cov3d.training.classes import training_notes, validation_notes
from cov3d.training.device import amp_mode
from cov3d.training.distributed import first_before_others, joined
from cov3d.training.finished import finished_run
from cov3d.training.fold_runs import check_finished
from cov3d.training.folder import is_done_for_good
from cov3d.training.learner import Run
from cov3d.training.loaders import Fold, choose_fold
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.start import Start

if TYPE_CHECKING:
    from cov3d.training.tracking import Tracker


def train(
    data: str | Path = ".",
    *,
    fold: int | None = None,
    store: str | Path | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
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
) -> Run:
    """Train a network on four folds and validate it on the fifth after every epoch.

    The scans must be preprocessed at the run's size (`cov3d.preprocess`).

    Args:
        data: root folder of the dataset.
        fold: to validate on, from 0 to 4; 0 by default. The others are trained on.
        store: folder of the preprocessed volumes; by default `preprocessed/SIZE` in `data`.
        output_dir: the run's folder; by default in `runs` in `data`, with a name made of the options.
        resume: continue the run in the folder, if one was begun there.
        overwrite: replace a run in the folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        options: every hyper-parameter at once, in place of single ones.
        compute: all of how the run is computed at once, in place of single fields.
        weights: File of torchvision's Kinetics-400 weights. By default it is looked for.
        weights_dir: folder to look for that file in first, and to fetch it into.
        from_checkpoint: a checkpoint to start from, of these categories or of STOIC's.
        strict: refuse a scan table that does not fit the dataset any more, instead of warning.
        table: the scan table; by default `scans.csv` in `data`, made where it is missing.
        trackers: any of `tensorboard`, `wandb` and `wandb-offline`, or a `Tracking`.
        listener: hears what is done and what a user should know; by default warnings become Python's `Cov3dWarning`.
        **hyper_parameters: fields of `TrainingOptions` and `Compute`, such as `experiment=6`, `epochs=3`,
            `size="tiny"` or `workers=4`.

    Returns:
        The run. Where it was finished before and its resume state was deleted, as its folder has it.

    Raises:
        Cov3dError: bad input; the sentence says what is wrong. Its subclasses: DatasetError (scan table), StoreError (a
            scan is not preprocessed), WeightsError and CheckpointError (what it starts from or resumes),
            TrainingDivergedError, DeviceMemoryError, TrackingError, OutputError (the folder).
        TypeError: there is no such hyper-parameter.
    """
    if resume and overwrite:
        raise Cov3dError("--resume and --overwrite cannot be combined: give one of them")
    chosen = training_options(options, hyper_parameters, fold)
    check_start(chosen.experiment, from_checkpoint)
    begins = {"weights": weights, "weights_dir": weights_dir, "from_checkpoint": from_checkpoint}
    given = run_inputs(data, listener, table=table, store=store, strict=strict, **begins)
    folder = Path(output_dir or given.data / "runs" / run_name(chosen, from_checkpoint))
    if resume and is_done_for_good(folder):
        return _finished(chosen, folder, given)
    how = computation(device, compute, hyper_parameters)
    amp_mode(chosen.precision, how.device)
    wanted = tracking.asked(trackers)
    made = tracking.make(wanted, folder, chosen, listener) if how.world.is_first else []
    with inputs.elsewhere("--output-dir", output_dir):
        run = _train(chosen, folder, given, how, made, overwrite=overwrite, resume=resume)
    if how.world.is_first:
        _say_result(run, chosen.fold, listener)
        for tracker in made:
            listener.say(tracker.where())
    return run


def _finished(chosen: TrainingOptions, folder: Path, given: RunInputs) -> Run:
    """The run in a folder, which is finished and was made with these options and scans."""
    check_finished(folder, chosen, choose_fold(given.scan_table(), chosen.fold), given.from_checkpoint)
    draw_missing_curves(folder, given.listener)
    given.listener.say(f"the run in {folder} is finished")
    return finished_run(folder)


def _train(
    chosen: TrainingOptions,
    folder: Path,
    given: RunInputs,
    how: Computation,
    trackers: "Sequence[Tracker]",
    *,
    overwrite: bool,
    resume: bool,
) -> Run:
    with (
        given.listener.stoppable(f"{folder} holds every epoch that was finished, and --resume continues"),
        joined(how.world, how.device),
    ):
        with first_before_others(how.world):
            start = given.start(chosen)  # before any data: what is missing is reported at once
        with first_before_others(how.world):
            store = given.open_store(chosen.size)
            scans = given.scan_table()
            categories = categories_of(scans["label"])
            chosen = chosen.for_categories(categories)
            fold = replace(choose_fold(scans, chosen.fold), is_synthetic=is_synthetic(given.data))
        _say_what_begins(chosen, fold, start, how, given.listener)
        return learner.train(
            chosen,
            fold,
            store,
            folder,
            device=how.device,
            overwrite=overwrite,
            continues=resume,
            compute=how.compute,
            start=start,
            categories=categories,
            console=given.listener.console,
            world=how.world,
            trackers=trackers,
            before_summary=figures.save_curves,
        )


def _say_what_begins(options: TrainingOptions, fold: Fold, start: Start, how: Computation, listener: Listener) -> None:
    """Say what is trained on what, with warnings of what makes its scores optimistic or uncertain."""
    _warn_if_not_of_stoic(options, start, listener)
    if start.info is not None and (seen := seen_in_training(start.info, fold.validation["scan"])):
        listener.warn(
            f"{start.file} was trained on {seen} of the {len(fold.validation)} scans of fold {options.fold}, which "
            "this run is validated on: its scores are optimistic"
        )
    warn_of_one_class(fold, options.fold, listener)
    on = f"{how.world.size} × {how.device.type}" if how.world.size > 1 else how.device
    listener.say(
        f"training on {len(fold.train)} scans, validating on {len(fold.validation)} (fold {options.fold}), on {on}"
    )


def warn_of_one_class(fold: Fold, chosen: int, listener: Listener) -> None:
    """Warn of what the scans of a run can't teach or score, for want of a second class."""
    for note in [*training_notes(fold.train["label"]), *validation_notes(fold.validation["label"], chosen)]:
        listener.warn(note)


def draw_missing_curves(folder: Path, listener: Listener) -> None:
    """Draw the curves of a finished run that has none: it was killed by an older version, or they were deleted."""
    try:
        figures.draw_missing_curves(folder)
    except OutputError as error:  # a run of others is only read
        listener.warn(str(error))


def _say_result(run: Run, fold: int, listener: Listener) -> None:
    """Say what the run came to, and how far that can be believed."""
    for task in TASKS:
        if task in run.best:
            best = run.best[task]
            score = number(best.scores[task].macro_f1)
            last = number(run.last[task].macro_f1)
            listener.say(
                f"best {task} macro F1 {score}, after epoch {best.epoch} of {len(run.history)}, selected on this fold "
                f"({last} after the last epoch): {run.folder / task}.safetensors"
            )
        else:
            listener.warn(f"no scan of fold {fold} could be scored for {task}: no checkpoint was chosen for it")
    listener.say("Scores selected on this fold are too high, the more so the more epochs there were to choose from.")


def _warn_if_not_of_stoic(chosen: TrainingOptions, start: Start, listener: Listener) -> None:
    if chosen.experiment is None or not find(chosen.experiment).stoic or start.info is None:
        return
    if start.info.categories != STOIC_CATEGORIES:
        listener.warn(
            f"experiment {chosen.experiment} starts from a network of STOIC's three categories; {start.file} is none"
        )
