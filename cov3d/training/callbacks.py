"""Our fastai callbacks: a batch on its way to the network, validation, history, best weights, and stopping.

fastai rewrites an exception that leaves a callback. So a callback that meets one of our errors keeps it, cancels
the fit, and `learner` raises it when the fit has ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor

from cov3d.errors import Cov3dError, TrainingDivergedError
from cov3d.files import write_text
from cov3d.training import augment
from cov3d.training.metrics import TaskScore
from cov3d.training.predictions import prediction_table, save_predictions, score_table

TASKS = ("presence", "severity")
_ADVICE = "train again with a lower --learning-rate, or with --precision fp32"


@dataclass(frozen=True)
class EpochResult:
    """One epoch's outcome on the validation fold.

    Attributes:
        epoch: from 1.
        table: the labelled prediction table of the fold.
        scores: by task.
    """

    epoch: int
    table: pd.DataFrame
    scores: dict[str, TaskScore]


class PrepareBatch(Callback):
    """`uint8` volumes on the device → network input, augmented while training."""

    order = -5  # before mixed precision begins

    def __init__(self, *, reflect: bool, brightness: float, contrast: float, seed: int) -> None:
        super().__init__()
        self.draw = partial(augment.draw, reflect=reflect, brightness=brightness, contrast=contrast)
        self.generator = torch.Generator().manual_seed(seed)

    def before_batch(self) -> None:
        (voxels,) = self.learn.xb
        volumes = augment.to_network_input(voxels)
        if self.learn.training:
            volumes = augment.apply(volumes, self.draw(len(volumes), generator=self.generator))
        self.learn.xb = (volumes,)


class Validation(Callback):
    """Scores each epoch as inference would: probabilities averaged over each scan and its reflection."""

    order = 20  # after mixed precision gave float32 logits, while its autocast is still on
    run_train = False

    def __init__(self, scans: Sequence[str], labels: Sequence[str], categories: Sequence[str]) -> None:
        super().__init__()
        self.scans, self.labels, self.categories = list(scans), list(labels), tuple(categories)
        self.batches: list[Tensor] = []
        self.result: EpochResult | None = None
        self.error: Cov3dError | None = None

    def before_validate(self) -> None:
        self.batches = []

    def after_pred(self) -> None:
        (volumes,) = self.learn.xb
        mixed = torch.is_autocast_enabled(volumes.device.type)
        # In float32, as inference is: a score must be the one that the checkpoint gives again.
        with torch.autocast(volumes.device.type, enabled=False):
            logits = None if mixed else self.learn.pred
            self.batches.append(augment.reflected_probabilities(self.learn.model, volumes, logits))

    def after_validate(self) -> None:
        probabilities = torch.cat(self.batches).cpu().numpy()
        if not np.isfinite(probabilities).all():
            self.error = TrainingDivergedError(
                f"the network gives no numbers after epoch {self.learn.epoch + 1}: {_ADVICE}"
            )
            raise CancelFitException
        table = prediction_table(self.scans, probabilities, self.categories, labels=self.labels)
        scores = dict(zip(TASKS, score_table(table, self.categories), strict=True))
        self.result = EpochResult(epoch=self.learn.epoch + 1, table=table, scores=scores)

    def macro_f1(self, task: str) -> float:
        """The last epoch's macro F1; NaN where no scan could be scored."""
        score = None if self.result is None else self.result.scores[task].macro_f1
        return float("nan") if score is None else score


class History(Callback):
    """`history.csv`: a row an epoch, written anew after each. No times, so that equal runs give equal files."""

    order = 55  # after fastai's recorder

    def __init__(self, file: Path, validation: Validation) -> None:
        super().__init__()
        self.file, self.validation = file, validation
        self.rows: list[dict[str, Any]] = []
        self.error: Cov3dError | None = None
        self.loss_sum, self.scans = 0.0, 0

    def before_train(self) -> None:
        self.loss_sum, self.scans = 0.0, 0

    def after_batch(self) -> None:
        if self.learn.training:
            count = len(self.learn.yb[0])
            self.loss_sum += float(self.learn.loss.detach()) * count
            self.scans += count

    def after_epoch(self) -> None:
        values = dict(zip(self.learn.recorder.metric_names[1:], self.learn.recorder.log[1:], strict=False))
        row = {
            "epoch": self.learn.epoch + 1,
            "train_loss": self.loss_sum / max(self.scans, 1),
            "valid_loss": values.get("valid_loss"),
            **{f"{task}_f1": self.validation.macro_f1(task) for task in TASKS},
            "learning_rate": self.learn.opt.hypers[-1]["lr"],
        }
        self.rows.append(row)
        with _cancelling(self):
            write_text(self.file, pd.DataFrame(self.rows).to_csv(index=False, lineterminator="\n"))


class BestWeights(Callback):
    """Saves the weights of the epoch with the best macro F1 of each task, with its prediction table.

    Of epochs that are equally good the first is kept.
    """

    order = 57

    def __init__(self, folder: Path, validation: Validation, save: Callable[[Path, str, EpochResult], None]) -> None:
        super().__init__()
        self.folder, self.validation, self.save = folder, validation, save
        self.best: dict[str, EpochResult] = {}
        self.error: Cov3dError | None = None

    def after_epoch(self) -> None:
        result = self.validation.result
        if result is None or result.epoch != self.learn.epoch + 1:
            return
        for task in TASKS:
            score = result.scores[task].macro_f1
            before = self.best[task].scores[task].macro_f1 if task in self.best else None
            if score is None or (before is not None and score <= before):
                continue
            with _cancelling(self):
                self.save(self.folder / f"{task}.safetensors", task, result)
                save_predictions(result.table, self.folder / f"validation-{task}.csv")
            self.best[task] = result


class StopOnNaN(Callback):
    """Ends the fit when the loss is no longer a number; the best weights so far stay as they are."""

    order = 40  # before the optimiser's results are recorded

    def __init__(self) -> None:
        super().__init__()
        self.error: Cov3dError | None = None

    def after_loss(self) -> None:
        loss = float(self.learn.loss.detach())
        if self.learn.training and not np.isfinite(loss):
            self.error = TrainingDivergedError(
                f"the loss became {loss} in epoch {self.learn.epoch + 1}, step {self.learn.iter + 1}: {_ADVICE}"
            )
            raise CancelFitException


class _cancelling:  # noqa: N801  used like a function
    """Keep one of our errors on the callback and cancel the fit."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Cov3dError):
            self.callback.error = error
            raise CancelFitException from error
