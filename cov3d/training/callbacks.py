"""Our fastai callbacks: a batch on its way to the network, the loss, validation.

fastai rewrites an exception that leaves a callback. So a callback that meets one of our errors keeps it, cancels
the fit, and `learner` raises it when the fit has ended.
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

_ADVICE = "train again with a lower --learning-rate, or with --precision fp32"
_SMOOTHING = 0.98


@dataclass(frozen=True)
class EpochResult:
    """One epoch's outcome on the validation fold.

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


class Chance(Callback):
    """Seeds every source of chance anew before each epoch, from seed, process and epoch.

    So an epoch is the same whether the run came to it without a break or was resumed, and nothing of it need be
    saved.
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
    """Seed every global source of chance; `seed` is below 2³²."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries below draw from the global one
    torch.manual_seed(seed)


class PrepareBatch(Callback):
    """`uint8` volumes on the device → network input, augmented while training."""

    order = -5  # before mixed precision begins

    def __init__(
        self, chance: Chance, *, reflect: bool, brightness: float, contrast: float, channels_last: bool
    ) -> None:
        super().__init__()
        self.draw = partial(
            augment.draw,
            reflect=reflect,
            brightness=brightness,
            contrast=contrast,
            generator=chance.augmentation,
        )
        self.layout = torch.channels_last_3d if channels_last else torch.contiguous_format

    def before_batch(self) -> None:
        (voxels,) = self.learn.xb
        volumes = augment.to_network_input(voxels)
        if self.learn.training:
            volumes = augment.apply(volumes, self.draw(len(volumes)))
        self.learn.xb = (volumes.contiguous(memory_format=self.layout),)


class _OnItsWay:
    """A loss on its way from a GPU to the host, which need not wait for it."""

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
    """Follows the training loss, and ends the fit when it is no longer a number.

    A loss is looked at when the next step has been sent to the GPU, so that the GPU never waits for the host. The
    best weights so far are of earlier epochs, and stay.

    Attributes:
        epoch_loss: mean over the epoch's scans, of all processes, once it has been trained.
        smooth: running mean, for the progress bar.
    """

    order = 40

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.error: Cov3dError | None = None
        self.epoch_loss, self.smooth = float("nan"), float("nan")

    def before_train(self) -> None:
        self.pending: _OnItsWay | None = None
        self.sums = torch.zeros(2, dtype=torch.float64)

    def after_loss(self) -> None:
        if not self.learn.training:
            return
        loss, count = self.learn.loss.detach(), len(self.learn.yb[0])
        self.sums = self.sums.to(loss.device, non_blocking=True)
        self.sums += torch.stack([loss.double() * count, torch.full_like(loss, count, dtype=torch.float64)])
        self._look()
        self.pending = _OnItsWay(loss, f"epoch {self.learn.epoch + 1}, step {self.learn.iter + 1}")
        if not loss.is_cuda:
            self._look()

    def after_train(self) -> None:
        self._look()
        lost, count = distributed.total(self.sums, self.world).tolist()
        self.epoch_loss = lost / max(count, 1)

    def _look(self) -> None:
        if self.pending is None:
            return
        value, where = self.pending.value(), self.pending.where
        self.pending = None
        if not np.isfinite(value):
            self.error = TrainingDivergedError(f"the loss became {value} in {where}: {_ADVICE}")
            raise CancelFitException
        self.smooth = value if np.isnan(self.smooth) else _SMOOTHING * self.smooth + (1 - _SMOOTHING) * value


class Validation(Callback):
    """Scores each epoch as inference would: probabilities averaged over each scan and its reflection.

    Each process predicts its share of the scans, every scan once; all of them then hold all probabilities. The
    network is taken out of its wrapper for several GPUs, which would make processes with fewer batches wait forever.
    """

    order = 20
    run_train = False

    def __init__(
        self, scans: Sequence[str], labels: Sequence[str], categories: Sequence[str], network: nn.Module, world: World
    ) -> None:
        super().__init__()
        self.scans, self.labels, self.categories = list(scans), list(labels), tuple(categories)
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
        """Batch norm's statistics of rank 0 for all: each process has seen other batches."""
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
        probabilities = distributed.gather(mine, len(self.scans), self.world).numpy()
        self.mean_loss = distributed.total(torch.as_tensor(self.lost), self.world).item() / len(self.scans)
        if not np.isfinite(probabilities).all():
            self.error = TrainingDivergedError(
                f"the network gives no numbers after epoch {self.learn.epoch + 1}: {_ADVICE}"
            )
            raise CancelFitException
        self.result = self.score(self.learn.epoch + 1, probabilities)

    def score(self, epoch: int, probabilities: NDArray[np.float32]) -> EpochResult:
        """The outcome of an epoch whose probabilities are known."""
        table = prediction_table(self.scans, probabilities, self.categories, labels=self.labels)
        scores = dict(zip(TASKS, score_table(table, self.categories), strict=True))
        return EpochResult(epoch, probabilities, table, scores)

    def macro_f1(self, task: str) -> float:
        """The last epoch's macro F1; NaN where no scan could be scored."""
        score = None if self.result is None else self.result.scores[task].macro_f1
        return float("nan") if score is None else score
