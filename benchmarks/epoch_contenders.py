"""Ways to do an epoch, for `epoch.py`: each says how long its parts took.

Network, loss, augmentation, scans and loaders are the same in all.
"""

import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from contenders import DTYPES, Bare, Job, Paper, in_words, timed
from fastai.data.core import DataLoaders
from rich.console import Console
from safetensors.torch import save_file

from cov3d.evaluation.metrics import TaskScore
from cov3d.training import augment, checkpoint
from cov3d.training.assemble import assemble
from cov3d.training.callbacks import EpochResult
from cov3d.training.description import checkpoint_info, describe
from cov3d.training.device import amp_mode
from cov3d.training.distributed import ALONE
from cov3d.training.fit import chosen_algorithms, fit
from cov3d.training.journal import Journal
from cov3d.training.loaders import EpochShuffle, ScanDataset, ScanLoader, scan_loader
from cov3d.training.options import Compute
from cov3d.training.progress import EpochProgress
from cov3d.training.start import RANDOM


@dataclass
class Parts:
    """Seconds of the parts of an epoch."""

    total: float = 0.0
    training: float = 0.0
    validation: float = 0.0
    loading: float = 0.0
    checkpoints: float = 0.0

    @property
    def rest(self) -> float:
        """What belongs to no part; loading is in training and validation."""
        return self.total - self.training - self.validation - self.checkpoints


class TimedLoader(ScanLoader):
    """A loader that adds up how long its reader waits."""

    def __iter__(self) -> Any:
        parts, batches = self.__dict__["parts"], super().__iter__()
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            parts.loading += time.perf_counter() - begun
            if batch is None:
                return
            yield batch


def watched(loader: Any, parts: Parts) -> Any:
    """The same loader, timed."""
    object.__setattr__(loader, "__class__", TimedLoader)
    loader.__dict__["parts"] = parts
    return loader


def loaders(job: Job, compute: Compute, parts: Parts) -> tuple[Any, Any]:
    """Of the training and of the validation scans, as `cov3d train` makes them."""
    train, valid = (ScanDataset(table, job.store) for table in (job.fold.train, job.fold.validation))
    how = {"workers": compute.workers, "device": job.device}
    size = compute.batch_to_validate(job.options.batch_size, job.device.type == "cuda")
    return (
        watched(
            scan_loader(train, batch_size=job.options.batch_size, sampler=EpochShuffle(len(train), 0), **how), parts
        ),
        watched(scan_loader(valid, batch_size=size, **how), parts),
    )


class TrainEpoch:
    """`cov3d train`."""

    def __init__(self, job: Job, compute: Compute, folder: Path) -> None:
        self.job, self.compute, self.parts = job, compute, Parts()
        self.how = in_words(amp_mode(job.options.precision, job.device), compute)
        options, model = job.options, job.network()
        learn, validation, losses = assemble(options, job.fold, job.store, model, job.device, compute)
        description = describe(options, job.fold, job.store, validation.categories, RANDOM, compute, ALONE)

        def save(file: Path, task: str, result: EpochResult, weights: Mapping[str, torch.Tensor]) -> None:
            checkpoint.save_weights(file, weights, checkpoint_info(options, job.fold, description, task, result))

        self.journal = Journal(folder, validation, losses, identity={}, versions={}, save_checkpoint=save, writes=True)
        self._everything_is_best(validation.score)
        progress = EpochProgress(Console(file=io.StringIO(), force_terminal=True), validation, losses, self.journal)
        learn.add_cbs([self.journal, progress])
        learn.dls = DataLoaders(watched(learn.dls.train, self.parts), watched(learn.dls.valid, self.parts))
        self.learn, self.progress = learn, progress
        self._time_parts()

    def _everything_is_best(self, score: Callable[..., EpochResult]) -> None:
        """Let every epoch have a score, and be the best: phantoms under several names may not suffice for one."""

        def scored(epoch: int, probabilities: Any) -> EpochResult:
            found = score(epoch, probabilities)
            scores = {task: _scored(one) for task, one in found.scores.items()}
            return replace(found, scores=scores)

        self.journal.validation.score = scored  # type: ignore[method-assign]

    def _time_parts(self) -> None:
        batches, written = self.learn.all_batches, self.journal.after_epoch

        def all_batches() -> None:
            seconds = timed(self.job.device, batches)
            if self.learn.training:
                self.parts.training += seconds
            else:
                self.parts.validation += seconds

        def after_epoch() -> None:
            self.parts.checkpoints += timed(self.job.device, written)

        self.learn.all_batches, self.journal.after_epoch = all_batches, after_epoch

    def take(self, epochs: int = 1) -> Parts:
        """Epochs of one run, whose end waits for the files of the last."""
        self.journal.rows, self.journal.best = [], {}
        _reset(self.parts)
        options, context = self.job.options, self.journal.in_background

        def run() -> None:
            with chosen_algorithms(self.compute.deterministic), self.learn.no_logging(), self.progress.bar, context():
                fit(self.learn, epochs, options.learning_rate, options.weight_decay)

        self.parts.total = timed(self.job.device, run)
        return _each(self.parts, epochs)


def _scored(score: TaskScore) -> TaskScore:
    return score if score.macro_f1 is not None else replace(score, macro_f1=0.5)


def _reset(parts: Parts) -> None:
    parts.total = parts.training = parts.validation = parts.loading = parts.checkpoints = 0.0


def _each(parts: Parts, epochs: int) -> Parts:
    """The parts of one of several epochs."""
    return Parts(**{field.name: getattr(parts, field.name) / epochs for field in fields(parts)})


class BareEpoch(Bare):
    """PyTorch alone."""

    def __init__(self, job: Job, compute: Compute, folder: Path) -> None:
        super().__init__(job, compute)
        self.folder, self.parts = folder, Parts()
        self.train_loader, self.valid_loader = loaders(job, compute, self.parts)
        self.epoch = 0

    def take(self, epochs: int = 1) -> Parts:  # type: ignore[override]
        """Epochs, one after another."""
        _reset(self.parts)
        device = self.job.device

        def epoch() -> None:
            self.train_loader.sampler.epoch = self.epoch = self.epoch + 1
            if self.compute.workers:
                self.valid_loader.begin()
            self.model.train()
            self.parts.training += timed(device, lambda: self._train(self.train_loader))
            self.model.eval()
            self.parts.validation += timed(device, self._validate)
            self.parts.checkpoints += timed(device, self._save)

        with chosen_algorithms(self.compute.deterministic):
            for _ in range(epochs):
                self.parts.total += timed(device, epoch)
        return _each(self.parts, epochs)

    @torch.no_grad()
    def _validate(self) -> None:
        device, found, lost = self.job.device, [], torch.zeros((), device=self.job.device)
        for voxels, labels in self.valid_loader:
            volumes = augment.to_network_input(voxels.to(device, non_blocking=True))
            volumes = volumes.contiguous(memory_format=self.layout)
            with torch.autocast(device.type, DTYPES[self.amp], enabled=self.amp is not None):
                logits = self.model(volumes)
                found.append(augment.reflected_probabilities(self.model, volumes, logits))
            lost += self.loss(logits.float(), labels.to(device)) * len(labels)
        torch.cat(found).cpu().numpy()

    def _save(self) -> None:
        weights = self.model.state_dict()
        with (self.folder / "last.pt").open("wb") as stream:
            torch.save({"model": weights, "optimiser": self.optimiser.state_dict()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        weights = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
        for task in ("presence", "severity"):
            save_file(weights, self.folder / f"{task}.safetensors")


class PaperEpoch(Paper):
    """The paper's settings."""

    def __init__(self, job: Job, compute: Compute, folder: Path) -> None:
        super().__init__(job)
        self.folder, self.parts = folder, Parts()
        compute = replace(compute, validation_batch_size=job.options.batch_size)
        self.learn.dls = DataLoaders(*loaders(job, compute, self.parts))

    def take(self, epochs: int = 1) -> Parts:  # type: ignore[override]
        """Epochs of one run, and its file."""
        _reset(self.parts)
        parts, batches = self.parts, self.learn.all_batches

        def all_batches() -> None:
            seconds = timed(self.job.device, batches)
            if self.learn.training:
                parts.training += seconds
            else:
                parts.validation += seconds

        def run() -> None:
            with self.learn.no_logging():
                self.learn.fit_one_cycle(epochs, lr_max=self.job.options.learning_rate)

        def save() -> None:
            torch.save(self.learn.model.state_dict(), self.folder / "model.pth")

        self.learn.all_batches = all_batches
        try:
            parts.total = timed(self.job.device, run)
        finally:
            self.learn.all_batches = batches
        parts.checkpoints = timed(self.job.device, save)
        parts.total += parts.checkpoints
        return _each(parts, epochs)
