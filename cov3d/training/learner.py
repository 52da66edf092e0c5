"""A training run: options, fold and store → a run folder."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import default_device
from rich.console import Console
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cov3d.errors import OutputError
from cov3d.files import claim_folder, held, remove_aside, write_text
from cov3d.labels import CATEGORIES
from cov3d.models.memory import checkpoint_activations
from cov3d.preprocess.pipeline import settings
from cov3d.preprocess.store import Store
from cov3d.training import checkpoint, distributed, memory, resume
from cov3d.training.callbacks import TASKS, Chance, EpochResult, LossWatch, PrepareBatch, Validation, seed_everything
from cov3d.training.device import amp_mode
from cov3d.training.distributed import ALONE, World
from cov3d.training.fit import ScanLearner, chosen_algorithms, compiler_explained, fit, make_learner
from cov3d.training.journal import HISTORY, Journal
from cov3d.training.loaders import EpochShuffle, Fold, ScanDataset, check_preprocessed, scan_loader
from cov3d.training.loss import FocalEMDLoss
from cov3d.training.metrics import TaskScore
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.progress import EpochProgress
from cov3d.training.start import RANDOM, Start
from cov3d.training.summary import SUMMARY, write_summary
from cov3d.training.tracking.tracker import Tracker, closing
from cov3d.training.tracking.values import TENSORBOARD_FOLDER, WANDB_FOLDER

DEFAULT_COMPUTE = Compute()
RUN_FILES = (
    *("config.json", HISTORY, SUMMARY, "curves.png", resume.FILE_NAME),
    *(f"{task}.safetensors" for task in TASKS),
    *(f"validation-{task}.csv" for task in TASKS),
    *(TENSORBOARD_FOLDER, WANDB_FOLDER),
)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it was written.
        model: the network after the last epoch.
        best: the best epoch's result, by task; a task that could not be scored is absent.
        history: a row an epoch.
        resumed_after: epochs that were done before, by a run that was interrupted.
        last: the last epoch's scores, by task.
    """

    folder: Path
    model: nn.Module
    best: dict[str, EpochResult]
    history: pd.DataFrame
    resumed_after: int = 0
    last: dict[str, TaskScore] = field(default_factory=dict)


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
) -> Run:
    """Train one network on one fold's training scans and validate it on the fold after every epoch.

    Args:
        options: hyper-parameters.
        fold: the scans.
        store: their preprocessed volumes.
        folder: the run's folder.
        device: what to compute on.
        overwrite: whether a run that is in it may go.
        continues: go on with the run in the folder, if one was begun there.
        compute: how it is computed.
        start: the weights to start from.
        categories: of the dataset.
        console: where progress is shown; nowhere by default.
        world: the processes that train together; all of them call this at once, `distributed.joined`.
        trackers: are sent options and scores, in the first process.

    Raises:
        Cov3dError: the options' distances do not fit the categories.
        StoreError: a scan is not preprocessed.
        TrainingDivergedError: the loss became NaN; the best weights so far are in the folder.
        DeviceMemoryError: a batch does not fit.
        CheckpointError: the run to go on with is of other options or data, or the weights to start from are of another
            network or of categories that do not go over into these.
        OutputError: there is a run in the folder and neither `overwrite` nor `continues` is set, or it can't be
            written.
    """
    options = options.for_categories(categories)
    check_preprocessed([*fold.train["scan"], *fold.validation["scan"]], store)
    start.check(options.architecture, categories)
    description = _describe(options, fold, store, categories, start, compute, world)
    identity = _identity(description, fold, world)
    with held(folder, "run") if world.is_first else nullcontext():
        with distributed.first_before_others(world):
            state = resume.load(folder) if continues else None
            if state is not None:
                resume.check_identity(state, identity, folder)
            elif continues and is_done_for_good(folder):
                raise OutputError(
                    f"the run in {folder} is finished, and its {resume.FILE_NAME} is gone: nothing to resume"
                )
            elif world.is_first:
                _begin(folder, description, overwrite=overwrite or continues)
        console = (console if world.is_first else None) or Console(quiet=True)
        with chosen_algorithms(compute.deterministic), memory.explained(options, device), compiler_explained():
            seed_everything(options.seed)
            model = start.network(options.architecture, categories, _model_arguments(options))
            if state is not None:
                model.load_state_dict(state.model)
            told = memory.line(model, options, device, checkpointing=compute.gradient_checkpointing)
            console.print(told, highlight=False, soft_wrap=True)
            learn, validation, losses = assemble(options, fold, store, model, device, compute, categories, world)

            def save(file: Path, task: str, result: EpochResult) -> None:
                checkpoint.save(file, model, _checkpoint_info(options, fold, description, task, result))

            journal = Journal(
                folder,
                validation,
                losses,
                identity=identity,
                versions=description["versions"],
                save_checkpoint=save,
                writes=world.is_first,
            )
            if state is not None:
                _go_back(learn, journal, state, console)
            _fit(learn, options, journal, validation, losses, console, trackers if world.is_first else ())
        last = None if validation.result is None else validation.result.scores
        if world.is_first:
            best = {task: (result.epoch, result.scores[task]) for task, result in journal.best.items()}
            write_summary(folder, len(journal.rows), {task: best.get(task) for task in TASKS}, last)
    done_before = 0 if state is None else state.epoch
    return Run(folder, model.eval(), journal.best, pd.DataFrame(journal.rows), done_before, last or {})


def is_done_for_good(folder: Path) -> bool:
    """Whether a run in the folder is finished and its resume state was deleted since, to save space."""
    return (folder / SUMMARY).exists() and not (folder / resume.FILE_NAME).exists()


def _begin(folder: Path, description: dict[str, Any], *, overwrite: bool) -> None:
    """Claim the folder for a new run, and say in it what it is."""
    try:
        claim_folder(folder, RUN_FILES, overwrite=overwrite, what="a run")
    except OutputError as error:
        unfinished = (folder / resume.FILE_NAME).exists() and not (folder / SUMMARY).exists()
        if not unfinished:
            raise
        raise OutputError(
            f"{folder} holds a run that was not finished: --resume goes on with it, --overwrite begins anew"
        ) from error
    remove_aside(folder)
    write_text(folder / "config.json", json.dumps(description, indent=2, default=list) + "\n")


def _go_back(learn: ScanLearner, journal: Journal, state: resume.ResumeState, console: Console) -> None:
    """Take up a run where `state` was written, and make its files again that may be missing or older."""
    learn.create_opt()
    learn.opt.opt.load_state_dict(state.optimiser)
    learn.first_epoch = learn.dls.train.sampler.epoch = state.epoch
    journal.restore(state)
    if journal.writes and not (journal.folder / SUMMARY).exists():  # the last of its files
        remove_aside(journal.folder)
        journal.write()
    console.print(f"going on after epoch {state.epoch}", highlight=False)
    if state.versions != journal.versions:
        changed = [name for name, version in journal.versions.items() if state.versions.get(name) != version]
        console.print(f"other versions than before of {', '.join(changed)}: rounding may differ", highlight=False)


def _fit(
    learn: ScanLearner,
    options: TrainingOptions,
    journal: Journal,
    validation: Validation,
    losses: LossWatch,
    console: Console,
    trackers: Sequence[Tracker],
) -> None:
    """Train what is left of the epochs, and raise what ended the fit early."""
    if learn.first_epoch >= options.epochs:
        return
    progress = EpochProgress(console, validation, losses, journal)
    learn.add_cbs([journal, progress, *trackers])
    with closing(trackers), learn.no_logging(), progress.bar:  # fastai would print each epoch as a list
        fit(learn, options.epochs, options.learning_rate, options.weight_decay)
    ending: list[Any] = [losses, validation, journal, *trackers]
    for callback in ending:
        if callback.error is not None:
            raise callback.error


def assemble(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    model: nn.Module,
    device: torch.device,
    compute: Compute,
    categories: Sequence[str] = CATEGORIES,
    world: World = ALONE,
) -> tuple[ScanLearner, Validation, LossWatch]:
    """The learner that a run fits, and the two of its callbacks that are asked afterwards.

    The model is moved to the device and laid out in memory as the run has it.
    """
    training_set = ScanDataset(fold.train, store, categories)
    validation_set = ScanDataset(fold.validation, store, categories)
    loader = partial(scan_loader, batch_size=options.batch_size, workers=compute.workers, device=device)
    loaders = DataLoaders(
        loader(training_set, sampler=EpochShuffle(len(training_set), options.seed, world)),
        loader(validation_set, sampler=distributed.share(len(validation_set), world)),
    )
    loss = FocalEMDLoss(
        gamma=options.gamma,
        emd_weight=options.emd_weight,
        distances=options.distances,
        negative_positive_distance=options.negative_positive_distance,
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    default_device(use=device.type == "cuda")  # plain loaders carry no device: fastai asks this
    amp = amp_mode(options.precision, device)
    channels_last = compute.uses_channels_last(amp)
    model.to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last_3d)
    if compute.gradient_checkpointing:
        checkpoint_activations(model)
    if compute.compile:
        model.compile()  # in place: its weights keep their names
    validation = Validation(list(fold.validation["scan"]), list(fold.validation["label"]), categories, model, world)
    chance = Chance(options.seed, world.rank)
    prepare = PrepareBatch(
        chance,
        reflect=options.reflect,
        brightness=options.brightness,
        contrast=options.contrast,
        channels_last=channels_last,
    )
    losses = LossWatch(world)
    learn = make_learner(
        loaders,
        _spread(model, device, world),
        loss,
        device=device,
        amp=amp,
        accumulate=options.accumulate,
        validation=validation,
        callbacks=[chance, prepare, losses, validation],
    )
    return learn, validation, losses


def _spread(model: nn.Module, device: torch.device, world: World) -> nn.Module:
    """The network in the wrapper that exchanges gradients between processes; itself where there is one."""
    if world.size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def _describe(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    categories: Sequence[str],
    start: Start,
    compute: Compute,
    world: World,
) -> dict[str, Any]:
    """What `config.json` says."""
    records = [store.record(scan) for scan in fold.train["scan"]]
    shares = [record["lung_share"] for record in records if record["crop"] == "lungs"]
    return {
        "options": asdict(options),
        "categories": list(categories),
        "preprocessing": settings(options.size),
        "training_scans": len(fold.train),
        "validation_scans": len(fold.validation),
        "lung_share": (min(shares), max(shares)) if shares else None,
        "started_from": start.describe(),
        "compute": {**asdict(compute), "processes": world.size},
        "versions": checkpoint.versions(),
    }


def _identity(description: dict[str, Any], fold: Fold, world: World) -> dict[str, Any]:
    """What a run is of, as plain values: it can be gone on with as this only."""
    scans = "".join(table.to_csv(index=False) for table in (fold.train, fold.validation))
    identity = {
        **description["options"],
        "categories": description["categories"],
        "preprocessing": description["preprocessing"]["hash"],
        # A file may have been moved or renamed meanwhile, but not changed.
        "started_from": {name: said for name, said in description["started_from"].items() if name != "file"},
        "scans": sha256(scans.encode()).hexdigest()[:12],
        "processes": world.size,
    }
    return json.loads(json.dumps(identity, default=list))


def _checkpoint_info(
    options: TrainingOptions, fold: Fold, description: dict[str, Any], task: str, result: EpochResult
) -> checkpoint.CheckpointInfo:
    """What a checkpoint of this run says of itself; `description` is what `config.json` says."""
    score = result.scores[task].macro_f1
    return checkpoint.CheckpointInfo(
        architecture=options.architecture,
        model=_model_arguments(options),
        size=options.size,
        preprocessing=description["preprocessing"],
        categories=tuple(description["categories"]),
        task=task,
        fold=options.fold,
        epoch=result.epoch,
        score=float("nan") if score is None else score,
        seed=options.seed,
        trained_on=tuple(checkpoint.fingerprint(scan) for scan in sorted(fold.train["scan"])),
        lung_share=description["lung_share"],
        experiment=options.experiment,
        started_from=description["started_from"],
        options=description["options"],
        versions=description["versions"],
    )


def _model_arguments(options: TrainingOptions) -> dict[str, Any]:
    """The arguments of the network beside its outputs."""
    return {} if options.dropout is None else {"dropout": options.dropout}
