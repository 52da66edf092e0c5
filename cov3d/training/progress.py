"""The progress bar of training. It uses rich, because fastai's bar writes control characters into a pipe."""

import math

from fastai.callback.core import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cov3d.labels import TASKS
from cov3d.training.callbacks import LossWatch, Validation
from cov3d.training.journal import Journal


class EpochProgress(Callback):
    """A bar for the current epoch, and a line for each finished epoch.

    The fit runs inside `with progress.bar`, so that the terminal's cursor is always restored.
    """

    order = 60

    def __init__(self, console: Console, validation: Validation, losses: LossWatch, journal: Journal) -> None:
        super().__init__()
        self.console, self.validation, self.losses, self.journal = console, validation, losses, journal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.row = self.bar.add_task("", total=None, note="")

    def before_train(self) -> None:
        self._begin("training")

    def before_validate(self) -> None:
        self._begin("validating")

    def _begin(self, what: str) -> None:
        name = f"epoch {self.learn.epoch + 1}/{self.learn.n_epoch} {what}"
        self.bar.reset(self.row, description=name, total=len(self.learn.dl), note="")

    def after_batch(self) -> None:
        if self.learn.training:
            note = f"loss {_number(self.losses.smooth, 4)}"
            if self.validation.result is not None:
                note += "  " + self._scores()
            self.bar.update(self.row, note=note)
        self.bar.advance(self.row)

    def after_epoch(self) -> None:
        rows = self.journal.rows
        if not rows or rows[-1]["epoch"] != self.learn.epoch + 1:
            return
        last = rows[-1]
        self.console.print(
            f"epoch {self.learn.epoch + 1}/{self.learn.n_epoch}  train loss {_number(last['train_loss'], 4)}  "
            f"valid loss {_number(last['valid_loss'], 4)}  {self._scores()}",
            highlight=False,
        )

    def _scores(self) -> str:
        return "  ".join(f"{task} F1 {_number(self.validation.macro_f1(task), 3)}" for task in TASKS)


def _number(value: float, digits: int) -> str:
    """Format a number; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
