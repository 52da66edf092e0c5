"""The command `train`."""

from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import out, say, say_warning, stoppable
from cov3d.app.data import store_folder
from cov3d.challenge.experiments import options_of
from cov3d.challenge.run_names import run_name
from cov3d.labels import TASKS, categories_of
from cov3d.training.hyper_parameters import hyper_parameters
from cov3d.training.options import TrainingOptions


def training_options(self: Any, **given: Any) -> TrainingOptions:
    """Every hyper-parameter: as given, else the experiment's, else the paper's default.

    Its options on the command line are made from the fields of `TrainingOptions` (`declarations`).
    """
    names = hyper_parameters(TrainingOptions).keys()
    values = {name: value for name, value in given.items() if name in names and value is not None}
    return options_of(values.pop("experiment", None), **values)


def train(
    self: Any,
    store: Path = options.store(),
    output_dir: Path = Param(
        None,
        help="The run's folder.",
        show_default="DATA/runs/<experiment or options, fold, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    resume: bool = Param(
        False,
        help="Go on with the run in the folder, if one was begun there: it ends as if it had not been interrupted.",
        rich_help_panel=options.OUTPUT,
    ),
    **kwargs: Any,
) -> Any:
    """Train a network on four folds and validate it on the fifth after every epoch.

    On several GPUs: torchrun --nproc-per-node N -m cov3d train …; a step then sees N batches.
    """
    from cov3d.challenge.experiments import check_start
    from cov3d.preprocessing.store import Store
    from cov3d.reports import figures
    from cov3d.training import learner
    from cov3d.training.checkpoint import seen_in_training
    from cov3d.training.device import amp_mode
    from cov3d.training.distributed import first_before_others, joined
    from cov3d.training.fold_runs import check_finished
    from cov3d.training.folder import is_done_for_good
    from cov3d.training.loaders import choose_fold

    _refuse_both(resume, overwrite)
    chosen = self.training_options(**kwargs)
    check_start(chosen.experiment, kwargs.get("from_checkpoint"))
    data: Path = kwargs["data"]
    folder = output_dir or data / "runs" / run_name(chosen, kwargs.get("from_checkpoint"))
    if resume and is_done_for_good(folder):
        fold = choose_fold(self.scan_table(**kwargs), chosen.fold)
        check_finished(folder, chosen, fold, kwargs.get("from_checkpoint"))
        draw_missing_curves(folder)
        say(f"the run in {folder} is finished")
        return None
    target, world, compute = self.compute_options(**kwargs)
    amp_mode(chosen.precision, target)
    trackers = self.trackers(folder, chosen, **kwargs) if world.is_first else []
    with (
        options.elsewhere("--output-dir", output_dir),
        stoppable(f"{folder} holds every epoch that was finished, and --resume goes on"),
        joined(world, target),
    ):
        with first_before_others(world):
            start = self.starting_point(chosen, **kwargs)  # before any data: what is missing is said at once
        with first_before_others(world):
            opened = Store.open(store_folder(data, store, chosen.size), chosen.size)
            table = self.scan_table(**kwargs)
            categories = categories_of(table["label"])
            chosen = chosen.for_categories(categories)
            fold = choose_fold(table, chosen.fold)
        _say_if_not_of_stoic(chosen, start)
        if start.info is not None and (seen := seen_in_training(start.info, fold.validation["scan"])):
            say_warning(
                f"{start.file} was trained on {seen} of the {len(fold.validation)} scans of fold {chosen.fold}, which "
                "this run is validated on: its scores flatter"
            )
        on = f"{world.size} × {target.type}" if world.size > 1 else target
        warn_of_one_class(fold, chosen.fold)
        say(f"training on {len(fold.train)} scans, validating on {len(fold.validation)} (fold {chosen.fold}), on {on}")
        run = learner.train(
            chosen,
            fold,
            opened,
            folder,
            device=target,
            overwrite=overwrite,
            continues=resume,
            compute=compute,
            start=start,
            categories=categories,
            console=out(),
            world=world,
            trackers=trackers,
            before_summary=figures.save_curves,
        )
    if not world.is_first:
        return run
    _say_result(run, chosen.fold)
    for tracker in trackers:
        say(tracker.where())
    return run


def warn_of_one_class(fold: Any, number: int) -> None:
    """Warn of what the scans of a run can't teach or score, for want of a second class."""
    from cov3d.training.classes import training_notes, validation_notes

    for note in [*training_notes(fold.train["label"]), *validation_notes(fold.validation["label"], number)]:
        say_warning(note)


def draw_missing_curves(folder: Path) -> None:
    """Draw the curves of a finished run that has none: it was killed by an older version, or they were deleted."""
    from cov3d.errors import OutputError
    from cov3d.reports import figures

    try:
        figures.draw_missing_curves(folder)
    except OutputError as error:  # a run of others is only read
        say_warning(str(error))


def _say_result(run: Any, fold: int) -> None:
    """Say what the run came to, and how far that can be believed."""
    from cov3d.reports.tables import number

    for task in TASKS:
        if task in run.best:
            best = run.best[task]
            score = number(best.scores[task].macro_f1)
            last = number(run.last[task].macro_f1)
            say(
                f"best {task} macro F1 {score}, after epoch {best.epoch}, selected on this fold among "
                f"{len(run.history)} ({last} after the last): {run.folder / task}.safetensors"
            )
        else:
            say_warning(f"no scan of fold {fold} could be scored for {task}: no checkpoint was chosen for it")
    say("What was selected on this fold flatters: the more so, the more epochs there were to choose from.")


def _say_if_not_of_stoic(chosen: TrainingOptions, start: Any) -> None:
    from cov3d.challenge.experiments import find
    from cov3d.labels import STOIC_CATEGORIES

    if chosen.experiment is None or not find(chosen.experiment).stoic or start.info is None:
        return
    if start.info.categories != STOIC_CATEGORIES:
        say_warning(
            f"experiment {chosen.experiment} starts from a network of STOIC's three categories; {start.file} is none"
        )


def _refuse_both(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        from cov3d.errors import Cov3dError

        raise Cov3dError("--resume and --overwrite contradict each other: give one of them")
