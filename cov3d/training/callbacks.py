"""fastai callbacks for random seeds, the preparation of batches and loaders, the loss and validation.

fastai changes exceptions that leave a callback. So a callback stores a `Cov3dError` and cancels the fit, and `learner`
raises the error after the fit.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from numpy.typing import NDArray
from torch import Tensor, nn

from cov3d.errors import Cov3dError, TrainingDivergedError
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.predictions import prediction_table, score_table
from cov3d.labels import TASKS
from cov3d.training import augment, distributed
from cov3d.training.distributed import World
from cov3d.training.loaders import ScanLoader

_ADVICE = "train again with a lower --learning-rate, or with --precision fp32"
_SMOOTHING = 0.98


@dataclass(frozen=True)
class EpochResult:
    """The result of one epoch on the validation fold.

    Attributes:
        epoch: from 1.
        probabilities: float32, (scans, categories).
        table: the labelled prediction table of the fold.
        scores: by task.
    """

    epoch: int
    probabilities: NDArray[np.float32]
    table: pd.DataFrame
    scores: dict[str, TaskScore]


class EpochSeeds(Callback):
    """Seeds all random number generators before each epoch, from seed, process and epoch.

    So an epoch is the same in a resumed run, without saving the state of the generators.
    """

    order = -20

    def __init__(self, seed: int, rank: int) -> None:
        super().__init__()
        self.seed, self.rank = seed, rank
        self.augmentation = torch.Generator()

    def before_train(self) -> None:
        networks, augmentation = np.random.SeedSequence([self.seed, self.rank, self.learn.epoch]).generate_state(2)
        seed_everything(int(networks))
        self.augmentation.manual_seed(int(augmentation))


def seed_everything(seed: int) -> None:
    """Seed all global random number generators; `seed` is below 2³²."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries use the global generator
    torch.manual_seed(seed)


class PrepareBatch(Callback):
    """Converts `uint8` volumes on the device to network input, with augmentation in training."""

    order = -5  # before mixed precision begins

    def __init__(
        self, seeds: EpochSeeds, *, reflect: bool, brightness: float, contrast: float, channels_last: bool
    ) -> None:
        super().__init__()
        self.draw = partial(
            augment.draw,
            reflect=reflect,
            brightness=brightness,
            contrast=contrast,
            generator=seeds.augmentation,
        )
        self.layout = torch.channels_last_3d if channels_last else torch.contiguous_format

    def before_batch(self) -> None:
        (voxels,) = self.learn.xb
        volumes = augment.to_network_input(voxels)
        if self.learn.training:
            volumes = augment.apply(volumes, self.draw(len(volumes)))
        self.learn.xb = (volumes.contiguous(memory_format=self.layout),)


class ReadyValidation(Callback):
    """Lets the processes that load validation scans begin while the epoch is trained."""

    run_valid = False

    def before_train(self) -> None:
        if isinstance(loader := self.learn.dls.valid, ScanLoader):
            loader.begin()


class _PendingLoss:
    """A loss that is being copied from a GPU, so that the host need not wait for it."""

    def __init__(self, loss: Tensor, where: str) -> None:
        self.where = where
        self.host = torch.empty(loss.shape, dtype=loss.dtype, pin_memory=loss.is_cuda)
        self.host.copy_(loss, non_blocking=True)
        self.arrived = torch.cuda.Event() if loss.is_cuda else None
        if self.arrived is not None:
            self.arrived.record()

    def value(self) -> float:
        if self.arrived is not None:
            self.arrived.synchronize()
        return float(self.host)


class LossWatch(Callback):
    """Monitors the training loss, and ends the fit if it is not finite.

    A loss is checked after the next step has been sent to the GPU, so that the GPU never waits for the host. The best
    weights so far come from earlier epochs and are kept.

    Attributes:
        epoch_loss: mean over the epoch's scans in all processes, available after training the epoch.
        smooth: running mean, for the progress bar.
    """

    order = 40

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.error: Cov3dError | None = None
        self.epoch_loss, self.smooth = float("nan"), float("nan")

    def before_train(self) -> None:
        self.pending: _PendingLoss | None = None
        self.sums = torch.zeros(2, dtype=torch.float64)

    def after_loss(self) -> None:
        if not self.learn.training:
            return
        loss, count = self.learn.loss.detach(), len(self.learn.yb[0])
        self.sums = self.sums.to(loss.device, non_blocking=True)
        self.sums += torch.stack([loss.double() * count, torch.full_like(loss, count, dtype=torch.float64)])
        self._check_pending()
        self.pending = _PendingLoss(loss, f"epoch {self.learn.epoch + 1}, step {self.learn.iter + 1}")
        if not loss.is_cuda:
            self._check_pending()

    def after_train(self) -> None:
        self._check_pending()
        lost, count = distributed.total(self.sums, self.world).tolist()
        self.epoch_loss = lost / max(count, 1)

    def _check_pending(self) -> None:
        if self.pending is None:
            return
        value, where = self.pending.value(), self.pending.where
        self.pending = None
        if not np.isfinite(value):
            self.error = TrainingDivergedError(f"the loss became {value} in {where}: {_ADVICE}")
            raise CancelFitException
        self.smooth = value if np.isnan(self.smooth) else _SMOOTHING * self.smooth + (1 - _SMOOTHING) * value


class Validation(Callback):
    """Scores each epoch as inference does: probabilities are averaged over each scan and its reflection.

    Each scan is predicted by one process; then all processes get all probabilities. The network is used without its
    wrapper for several GPUs, in which processes with fewer batches would wait forever.
    """

    order = 20
    run_train = False

    def __init__(
        self,
        scan_names: Sequence[str],
        labels: Sequence[str],
        categories: Sequence[str],
        network: nn.Module,
        world: World,
    ) -> None:
        super().__init__()
        self.scan_names, self.labels, self.categories = list(scan_names), list(labels), tuple(categories)
        self.network, self.world = network, world
        self.batches: list[Tensor] = []
        self.result: EpochResult | None = None
        self.mean_loss = float("nan")
        self.error: Cov3dError | None = None

    def before_validate(self) -> None:
        self.batches, self.lost = [], 0.0
        self.wrapped, self.learn.model = self.learn.model, self.network
        self._share_running_means()

    def _share_running_means(self) -> None:
        """Copy batch norm's running statistics from rank 0 to all processes, which have seen different batches."""
        if self.world.size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def after_pred(self) -> None:
        (volumes,) = self.learn.xb
        self.batches.append(augment.reflected_probabilities(self.learn.model, volumes, self.learn.pred))

    def after_loss(self) -> None:
        self.lost = self.lost + self.learn.loss.detach().double() * len(self.learn.yb[0])

    def after_validate(self) -> None:
        self.learn.model = self.wrapped
        empty = torch.empty(0, len(self.categories))
        mine = torch.cat(self.batches).cpu() if self.batches else empty
        probabilities = distributed.gather(mine, len(self.scan_names), self.world).numpy()
        self.mean_loss = distributed.total(torch.as_tensor(self.lost), self.world).item() / len(self.scan_names)
        if not np.isfinite(probabilities).all():
            self.error = TrainingDivergedError(
                f"the network's output is not a number after epoch {self.learn.epoch + 1}: {_ADVICE}"
            )
            raise CancelFitException
        self.result = self.score(self.learn.epoch + 1, probabilities)

    def score(self, epoch: int, probabilities: NDArray[np.float32]) -> EpochResult:
        """The result of an epoch from its probabilities."""
        table = prediction_table(self.scan_names, probabilities, self.categories, labels=self.labels)
        scores = dict(zip(TASKS, score_table(table, self.categories), strict=True))
        return EpochResult(epoch, probabilities, table, scores)

    def macro_f1(self, task: str) -> float:
        """The last epoch's macro F1; NaN if no scan could be scored."""
        score = None if self.result is None else self.result.scores[task].macro_f1
        return float("nan") if score is None else score
