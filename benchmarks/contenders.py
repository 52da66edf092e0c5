"""Ways to take a training step, for `train_step.py`: each takes steps over one batch in memory, and says how long.

Network, loss, augmentation and batch are the same in all; what differs is who runs the loop, and how it computes.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Protocol

import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import AvgSmoothLoss, Learner
from fastai.optimizer import Adam
from rich.console import Console
from torch import Tensor, nn

from cov3d.labels import CATEGORIES
from cov3d.models.memory import checkpoint_activations
from cov3d.models.registry import build
from cov3d.preprocessing.store import Store
from cov3d.training import augment
from cov3d.training.assemble import assemble
from cov3d.training.callbacks import EpochSeeds, PrepareBatch
from cov3d.training.device import amp_mode
from cov3d.training.fit import EPSILON, MOMENTUM, SQUARED_MOMENTUM, chosen_algorithms, fit, split_by_decay
from cov3d.training.loaders import EpochShuffle, Fold
from cov3d.training.loss import FocalEMDLoss
from cov3d.training.options import Compute, Precision, TrainingOptions
from cov3d.training.progress import EpochProgress

DTYPES = {None: torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What is multiplied, by mixed precision."""


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    Attributes:
        options: network, size, batch, and the hyper-parameters, which are the defaults.
        fold: scans of `store`.
        batch: volumes (`uint8`) and labels on the host, pinned where there is a GPU.
        device: where the network is.
    """

    options: TrainingOptions
    fold: Fold
    store: Store
    batch: tuple[Tensor, Tensor]
    device: torch.device

    def network(self) -> nn.Module:
        """A new network, from random weights."""
        options = self.options
        arguments = {} if options.dropout is None else {"dropout": options.dropout}
        return build(options.architecture, outputs=len(CATEGORIES), **arguments)

    def loss(self) -> FocalEMDLoss:
        """The loss, on the device."""
        return FocalEMDLoss(gamma=self.options.gamma, emd_weight=self.options.emd_weight).to(self.device)


class WithoutNetwork(Job):
    """The same job with hardly anything to compute, so that a step takes what the loop around it takes."""

    @classmethod
    def like(cls, job: Job) -> "WithoutNetwork":
        """A corner of the batch, and a layer."""
        voxels, labels = job.batch
        corner = voxels[..., :8, :8, :8].clone()
        return cls(job.options, job.fold, job.store, (corner, labels), job.device)

    def network(self) -> nn.Module:
        """The layer."""
        return nn.Sequential(nn.Flatten(), nn.Linear(8**3, len(CATEGORIES)))


class Contender(Protocol):
    """Something that takes training steps."""

    amp: str | None
    how: str

    def take(self, steps: int) -> float:
        """Take steps; the seconds they took, the GPU's work included."""


class Train:
    """The learner of `cov3d train`, with its callbacks and its progress bar, as in a terminal.

    Args:
        job: what is trained.
        compute: how.
        recorder: fastai's own running mean of the loss in place of ours: it copies the loss to the host each step.
        watched: whether `LossWatch` looks at the loss.
    """

    def __init__(self, job: Job, compute: Compute, *, recorder: bool = False, watched: bool = True) -> None:
        self.job, self.compute = job, compute
        self.amp = amp_mode(job.options.precision, job.device)
        self.how = in_words(self.amp, compute)
        self.learn, validation, losses = assemble(job.options, job.fold, job.store, job.network(), job.device, compute)
        self.learn.remove_cb(validation)  # there is nothing to validate on
        if recorder:
            self.learn.recorder.smooth_loss = AvgSmoothLoss()
        if not watched:
            self.learn.remove_cb(losses)
        terminal = Console(file=_Nowhere(), force_terminal=True)
        self.progress = EpochProgress(terminal, validation, losses, SimpleNamespace(rows=[]))
        self.learn.add_cb(self.progress)
        self.time = _timing(self.learn, job.device)

    def take(self, steps: int) -> float:
        """Take an epoch of so many steps; what comes before its first and after its last is not counted."""
        options = self.job.options
        self.learn.dls = DataLoaders(_Repeated(self.job.batch, steps), [])
        with chosen_algorithms(self.compute.deterministic), self.learn.no_logging(), self.progress.bar:
            fit(self.learn, 1, options.learning_rate, options.weight_decay)
        return self.time()


class Bare:
    """PyTorch alone: the same network, precision, layout and optimiser in a loop of ten lines.

    No schedule, no progress bar, no look at the loss.
    """

    def __init__(self, job: Job, compute: Compute) -> None:
        self.job, self.compute = job, compute
        options, device = job.options, job.device
        self.amp = amp_mode(options.precision, device)
        self.how = in_words(self.amp, compute)
        self.layout = torch.channels_last_3d if compute.uses_channels_last(self.amp) else torch.contiguous_format
        self.model = job.network().to(device)
        if self.layout == torch.channels_last_3d:
            self.model.to(memory_format=self.layout)
        if compute.gradient_checkpointing:
            checkpoint_activations(self.model, options.architecture)
        if compute.compile:
            self.model.compile()
        self.loss = job.loss()
        decayed, spared = split_by_decay(self.model)
        self.optimiser = torch.optim.Adam(
            [{"params": decayed, "weight_decay": options.weight_decay}, {"params": spared, "weight_decay": 0.0}],
            lr=options.learning_rate,
            betas=(MOMENTUM, SQUARED_MOMENTUM),
            eps=EPSILON,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp == "fp16")
        self.draw = partial(
            augment.draw,
            reflect=options.reflect,
            brightness=options.brightness,
            contrast=options.contrast,
            generator=torch.Generator(),
        )

    def take(self, steps: int) -> float:
        """Take steps."""
        self.model.train()
        with chosen_algorithms(self.compute.deterministic):
            return timed(self.job.device, lambda: self._train(_Repeated(self.job.batch, steps)))

    def _train(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        device = self.job.device
        for host in batches:
            voxels, labels = (tensor.to(device, non_blocking=True) for tensor in host)
            volumes = augment.apply(augment.to_network_input(voxels), self.draw(len(voxels)))
            volumes = volumes.contiguous(memory_format=self.layout)
            with torch.autocast(device.type, DTYPES[self.amp]) if self.amp else nullcontext():
                logits = self.model(volumes)
            loss = self.loss(logits.float(), labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.optimiser.zero_grad()


class Paper:
    """The paper's own settings: fastai's learner, recorder and Adam, float16 with scaled gradients, default layout.

    On a CPU, where fastai has no float16, float32.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        options = job.options
        self.amp = "fp16" if job.device.type == "cuda" else None
        self.how = in_words(self.amp, Compute(channels_last=False, deterministic=False))
        chance = EpochSeeds(seed=0, rank=0)
        prepare = PrepareBatch(
            chance,
            reflect=options.reflect,
            brightness=options.brightness,
            contrast=options.contrast,
            channels_last=False,
        )
        self.learn = Learner(
            DataLoaders([], []),
            job.network().to(job.device),
            loss_func=job.loss(),
            opt_func=partial(Adam, decouple_wd=False),
            wd=options.weight_decay,
            cbs=[chance, prepare],
        )
        self.learn.remove_cbs(self.learn.cbs.filter(lambda callback: isinstance(callback, ProgressCallback)))
        if self.amp is not None:
            self.learn.add_cb(MixedPrecision(self.amp))
        self.time = _timing(self.learn, job.device)

    def take(self, steps: int) -> float:
        """Take an epoch of so many steps."""
        self.learn.dls = DataLoaders(_Repeated(self.job.batch, steps), [])
        with self.learn.no_logging():
            self.learn.fit_one_cycle(1, lr_max=self.job.options.learning_rate)
        return self.time()


class _Nowhere(io.StringIO):
    """A terminal that nobody looks at."""

    def write(self, text: str) -> int:
        return len(text)


class _Repeated:
    """A loader that gives one batch again and again."""

    def __init__(self, batch: tuple[Tensor, Tensor], steps: int) -> None:
        self.batch, self.steps = batch, steps
        self.sampler = EpochShuffle(steps, seed=0)  # `EpochSeeds` tells it the epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.batch for _ in range(self.steps))


def _timing(learn: Learner, device: torch.device) -> Callable[[], float]:
    """Have a learner time its training batches; a function that gives the seconds of the last epoch."""
    batches, seconds = learn.all_batches, [float("nan")]

    def all_batches() -> None:
        if learn.training:
            seconds[0] = timed(device, batches)
        else:
            batches()

    learn.all_batches = all_batches
    return lambda: seconds[0]


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds that `work` takes, until the device has done it too."""
    wait_for(device)
    begun = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - begun


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_words(amp: str | None, compute: Compute) -> str:
    """Precision, layout and the rest."""
    words = [amp or Precision.FP32.value]
    words += ["channels last"] if compute.uses_channels_last(amp) else []
    words += ["compiled"] if compute.compile else []
    words += ["checkpointed"] if compute.gradient_checkpointing else []
    words += ["deterministic"] if compute.deterministic else []
    return ", ".join(words)
