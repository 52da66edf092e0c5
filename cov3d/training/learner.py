"""A training run: options, fold and store → a run folder, through a fastai `Learner`."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  adds fit_one_cycle to Learner
from fastai.data.core import DataLoaders
from fastai.learner import Learner, ValueMetric
from fastai.optimizer import Adam
from fastai.torch_core import default_device
from rich.console import Console
from torch import Tensor, nn

from cov3d.files import claim_folder, write_text
from cov3d.labels import CATEGORIES
from cov3d.models.registry import build
from cov3d.preprocess.pipeline import settings
from cov3d.preprocess.store import Store
from cov3d.training import checkpoint
from cov3d.training.callbacks import TASKS, BestWeights, EpochResult, History, PrepareBatch, StopOnNaN, Validation
from cov3d.training.device import amp_mode
from cov3d.training.loaders import Fold, ScanDataset, check_preprocessed, scan_loader
from cov3d.training.loss import FocalEMDLoss
from cov3d.training.options import TrainingOptions
from cov3d.training.progress import EpochProgress

SUMMARY = "summary.json"
HISTORY = "history.csv"
RUN_FILES = (
    *("config.json", HISTORY, SUMMARY, "curves.png"),
    *(f"{task}.safetensors" for task in TASKS),
    *(f"validation-{task}.csv" for task in TASKS),
)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it was written.
        model: the network after the last epoch.
        best: the best epoch's result, by task; a task that could not be scored is absent.
        history: a row an epoch.
    """

    folder: Path
    model: nn.Module
    best: dict[str, EpochResult]
    history: pd.DataFrame


def train(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    folder: Path,
    *,
    device: torch.device,
    overwrite: bool = False,
    workers: int = 0,
    kinetics: Mapping[str, Tensor] | None = None,
    categories: Sequence[str] = CATEGORIES,
    console: Console | None = None,
) -> Run:
    """Train one network on one fold's training scans and validate it on the fold after every epoch.

    Args:
        options: hyper-parameters.
        fold: the scans.
        store: their preprocessed volumes.
        folder: the run's folder.
        overwrite: whether a run that is in it may go.
        device: what to compute on.
        workers: processes that load volumes; they do not change the result.
        kinetics: weights to start from; None for random ones.
        categories: of the dataset.
        console: where progress is shown; nowhere by default.

    Raises:
        Cov3dError: the options' distances do not fit the categories.
        StoreError: a scan is not preprocessed.
        TrainingDivergedError: the loss became NaN; the best weights so far are in the folder.
        OutputError: there is a run in the folder and `overwrite` is not set, or it can't be written.
    """
    options = options.for_categories(categories)
    check_preprocessed([*fold.train["scan"], *fold.validation["scan"]], store)
    description = _describe(options, fold, store, categories)
    claim_folder(folder, RUN_FILES, overwrite=overwrite, what="a run")
    write_text(folder / "config.json", json.dumps(description, indent=2, default=list) + "\n")
    seed_everything(options.seed)
    model = build(options.architecture, outputs=len(categories), kinetics=kinetics, **_model_arguments(options))

    def save(file: Path, task: str, result: EpochResult) -> None:
        checkpoint.save(file, model, _checkpoint_info(options, fold, description, task, result))

    learn, validation = _learner(options, fold, store, model, device, workers, categories)
    stop = StopOnNaN()
    history = History(folder / HISTORY, validation)
    best = BestWeights(folder, validation, save)
    learn.add_cbs([stop, history, best])
    progress = EpochProgress(console or Console(quiet=True), validation)
    learn.add_cb(progress)
    with learn.no_logging(), progress.bar:  # fastai would print each epoch as a list
        learn.fit_one_cycle(options.epochs, lr_max=options.learning_rate, wd=options.weight_decay)

    for callback in (stop, validation, history, best):
        if callback.error is not None:
            raise callback.error
    _summarise(folder, best, history)
    return Run(folder=folder, model=model.eval(), best=best.best, history=pd.DataFrame(history.rows))


def _learner(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    model: nn.Module,
    device: torch.device,
    workers: int,
    categories: Sequence[str],
) -> tuple[Learner, Validation]:
    loader = partial(scan_loader, batch_size=options.batch_size, workers=workers, device=device)
    training_set = ScanDataset(fold.train, store, categories)
    validation_set = ScanDataset(fold.validation, store, categories)
    loss = FocalEMDLoss(
        gamma=options.gamma,
        emd_weight=options.emd_weight,
        distances=options.distances,
        negative_positive_distance=options.negative_positive_distance,
    )
    validation = Validation(list(fold.validation["scan"]), list(fold.validation["label"]), categories)
    prepare = PrepareBatch(
        reflect=options.reflect, brightness=options.brightness, contrast=options.contrast, seed=options.seed + 1
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    default_device(use=device.type == "cuda")  # plain loaders carry no device: fastai asks this
    learn = Learner(
        DataLoaders(loader(training_set, shuffle_seed=options.seed), loader(validation_set)),
        model.to(device),
        loss_func=loss,
        # fastai's defaults otherwise: β1 from the 1cycle schedule, β2 0.99, eps 1e-5, no decay of biases and norms.
        opt_func=partial(Adam, decouple_wd=False),
        metrics=[ValueMetric(partial(validation.macro_f1, task), f"{task}_f1") for task in TASKS],
        cbs=[prepare, validation],
    )
    learn.remove_cbs(learn.cbs.filter(lambda callback: isinstance(callback, ProgressCallback)))
    if (mode := amp_mode(options.precision, device)) is not None:
        learn.add_cb(MixedPrecision(amp_mode=AMPMode(mode)))
    return learn, validation


def seed_everything(seed: int) -> None:
    """Seed every source of chance, and choose algorithms that give the same result every time."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries below draw from the global one
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _describe(options: TrainingOptions, fold: Fold, store: Store, categories: Sequence[str]) -> dict[str, Any]:
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
        "versions": checkpoint.versions(),
    }


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
        options=description["options"],
        versions=description["versions"],
    )


def _model_arguments(options: TrainingOptions) -> dict[str, Any]:
    """The arguments of the network beside its outputs."""
    return {"dropout": options.dropout}


def _summarise(folder: Path, best: BestWeights, history: History) -> None:
    last = history.validation.result
    summary: dict[str, Any] = {"epochs": len(history.rows), "tasks": {}}
    for task in TASKS:
        chosen = best.best.get(task)
        summary["tasks"][task] = {
            "best_epoch": None if chosen is None else chosen.epoch,
            "best": None if chosen is None else chosen.scores[task].as_dict(),
            "last": None if last is None else last.scores[task].as_dict(),
        }
    write_text(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
