"""Train a network on a fold and write the folder of the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor

from cov3d.errors import OutputError
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.summary import write_summary
from cov3d.files import folder_lock, remove_aside
from cov3d.labels import CATEGORIES, TASKS
from cov3d.models.memory import check_has_blocks
from cov3d.preprocessing.store import Store
from cov3d.run_files import SCANS
from cov3d.training import checkpoint, distributed, memory, resume, run_scans
from cov3d.training.assemble import assemble
from cov3d.training.callbacks import EpochResult, LossWatch, Validation, seed_everything
from cov3d.training.description import checkpoint_info, describe, identity_of, model_arguments
from cov3d.training.device import amp_mode
from cov3d.training.distributed import ALONE, World
from cov3d.training.finished import finished_run
from cov3d.training.fit import ScanLearner, autocast_left, chosen_algorithms, compiler_explained, fit
from cov3d.training.folder import begin, check_best_files, is_finished
from cov3d.training.journal import Journal, SaveCheckpoint
from cov3d.training.loaders import Fold, check_preprocessed, shared_memory_explained
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.progress import EpochProgress
from cov3d.training.rescore import rescore
from cov3d.training.resume import ResumeState
from cov3d.training.run import Run
from cov3d.training.start import RANDOM, Start
from cov3d.training.tracking.tracker import Tracker, closing

DEFAULT_COMPUTE = Compute()


@memory.freed_afterwards
def train(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    folder: Path,
    *,
    device: torch.device,
    overwrite: bool = False,
    continues: bool = False,
    compute: Compute = DEFAULT_COMPUTE,
    start: Start = RANDOM,
    categories: Sequence[str] = CATEGORIES,
    console: Console | None = None,
    world: World = ALONE,
    trackers: Sequence[Tracker] = (),
    before_summary: Callable[[Path, pd.DataFrame], None] = lambda folder, history: None,
) -> Run:
    """Train a network on the training scans of a fold, and validate it on the fold after each epoch.

    Args:
        options: hyper-parameters.
        fold: the scans.
        store: their preprocessed volumes.
        folder: of the run.
        device: to compute on.
        overwrite: whether to delete an earlier run in the folder.
        continues: resume the run in the folder, if there is one.
        compute: settings of the computation.
        start: the initial weights.
        categories: of the dataset.
        console: where to show progress; None for nowhere.
        world: the processes that train together. All must call this function, within `distributed.joined`.
        trackers: receive options and scores, in the first process.
        before_summary: called with the folder and the history, in the first process, before the summary is written. A
            run with a summary is finished and has all its files.

    Raises:
        Cov3dError: the options' distances do not fit the categories.
        StoreError: a scan is not preprocessed.
        TrainingDivergedError: the loss became NaN; the best weights so far are in the folder.
        DeviceMemoryError: a batch does not fit into memory.
        CheckpointError: the run to resume has other options or data, or the initial weights belong to another network
            or to categories that can't be mapped to these.
        OutputError: the folder has a run and neither `overwrite` nor `continues` is set, or it can't be written.
    """
    options = options.for_categories(categories)
    check_preprocessed([*fold.train["scan"], *fold.validation["scan"]], store)
    start.check(options.architecture, categories)
    if compute.gradient_checkpointing:
        check_has_blocks(options.architecture)
    description = describe(options, fold, store, categories, start, compute, world)
    identity = identity_of(description, fold, world)
    seed_everything(options.seed)
    model = start.network(options.architecture, categories, model_arguments(options))  # before a run is overwritten
    with folder_lock(folder, "run") if world.is_first else nullcontext():
        state = _claim(folder, description, identity, fold, world, overwrite=overwrite, continues=continues)
        console = (console if world.is_first else None) or Console(quiet=True)
        with chosen_algorithms(compute.deterministic), _explained(options, device):
            amp = amp_mode(options.precision, device)
            if state is not None:
                resume.fit_into(model, state.model, folder)
            estimate = memory.describe(model, options, device, checkpointing=compute.gradient_checkpointing)
            console.print(estimate, highlight=False, soft_wrap=True)
            learn, validation, losses = assemble(options, fold, store, model, device, compute, categories, world)
            journal = Journal(
                folder,
                validation,
                losses,
                identity=identity,
                versions=description["versions"] | {"arithmetic": amp or "fp32"},
                save_checkpoint=_checkpoint_writer(options, fold, description),
                writes=world.is_first,
            )
            if state is not None:
                _restore(learn, journal, state, console)
            _fit(learn, options, journal, validation, losses, console, trackers if world.is_first else ())
            best, last = _reported(learn, journal, amp, world)
        history = pd.DataFrame(journal.rows)
        if world.is_first:
            before_summary(folder, history)
            chosen = {task: (best[task].epoch, best[task].scores[task]) if task in best else None for task in TASKS}
            write_summary(folder, len(history), chosen, last or None, chosen_in=amp)
    done_before = 0 if state is None else state.epoch
    return Run(folder, model.eval(), best, history, done_before, last)


@contextmanager
def _explained(options: TrainingOptions, device: torch.device) -> Iterator[None]:
    """Turn errors that a user can resolve into one sentence each."""
    with memory.explained(options, device), compiler_explained(), shared_memory_explained():
        yield


def _claim(
    folder: Path,
    description: dict[str, Any],
    identity: dict[str, Any],
    fold: Fold,
    world: World,
    *,
    overwrite: bool,
    continues: bool,
) -> ResumeState | None:
    """Return the state of the run to resume; or start a new run in the folder and return None."""
    with distributed.first_before_others(world):
        state = resume.load(folder) if continues else None
        if state is not None:
            resume.check_identity(state, identity, folder, run_scans.differences(folder, fold))
            check_best_files(folder, state)
            if world.is_first and not (folder / SCANS).exists():  # started by an older version
                run_scans.save(folder, fold)
        elif world.is_first:
            begin(folder, description, fold, overwrite=overwrite, continues=continues)
    if not distributed.agree(0 if state is None else state.epoch, world):
        raise OutputError(f"not all processes of this run see the same {folder}: give a shared folder as --output-dir")
    return state


def _checkpoint_writer(options: TrainingOptions, fold: Fold, description: dict[str, Any]) -> SaveCheckpoint:
    def save(file: Path, task: str, result: EpochResult, weights: Mapping[str, Tensor]) -> None:
        checkpoint.save_weights(file, weights, checkpoint_info(options, fold, description, task, result))

    return save


def _restore(learn: ScanLearner, journal: Journal, state: ResumeState, console: Console) -> None:
    """Restore a run from its state, and write its files again, which may be missing or older."""
    learn.create_opt()
    resume.fit_into(learn.opt.opt, state.optimiser, journal.folder)
    learn.first_epoch = state.epoch
    journal.restore(state)
    if journal.writes and not is_finished(journal.folder):
        remove_aside(journal.folder)
        journal.write()
    console.print(f"resuming after epoch {state.epoch}", highlight=False)
    if changed := [name for name, version in journal.versions.items() if state.versions.get(name) != version]:
        console.print(f"changed since then: {', '.join(changed)}; rounding may differ", highlight=False)


def _fit(
    learn: ScanLearner,
    options: TrainingOptions,
    journal: Journal,
    validation: Validation,
    losses: LossWatch,
    console: Console,
    trackers: Sequence[Tracker],
) -> None:
    """Train the remaining epochs, and raise the error that ended the fit early, if any."""
    if learn.first_epoch >= options.epochs:
        return
    progress = EpochProgress(console, validation, losses, journal)
    learn.add_cbs([journal, progress, *trackers])
    with closing(trackers), journal.in_background(), learn.no_logging(), progress.bar, autocast_left(learn.device):
        fit(learn, options.epochs, options.learning_rate, options.weight_decay)
    ending: list[Any] = [losses, validation, journal, *trackers]
    for callback in ending:
        if callback.error is not None:
            raise callback.error


def _reported(
    learn: ScanLearner, journal: Journal, amp: str | None, world: World
) -> tuple[dict[str, EpochResult], dict[str, TaskScore]]:
    """The results that are reported, in float32: of each task's best epoch, and the last epoch's scores by task."""
    validation = journal.validation
    best, last = journal.best, validation.result
    if amp is not None and is_finished(journal.folder):  # its files stay, which may have a temperature
        run = finished_run(journal.folder)
        return run.best, run.last
    if amp is not None:
        best, last = rescore(
            journal.folder,
            validation,
            journal.best,
            learn.dls.valid,
            journal.save_checkpoint,
            device=learn.device,
            world=world,
        )
    return best, {} if last is None else last.scores
