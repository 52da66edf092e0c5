"""Writes the results of each epoch: history, the best weights of each task, and the state for resuming."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor

from cov3d.errors import Cov3dError
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import HISTORY, checkpoint_name, validation_table
from cov3d.training import resume
from cov3d.training.background import BackgroundWork, HostCopy
from cov3d.training.callbacks import EpochResult, LossWatch, Validation
from cov3d.training.resume import ResumeState

SaveCheckpoint = Callable[[Path, str, EpochResult, Mapping[str, Tensor]], None]
"""Writes a file: its path, the task, the result of the epoch, and the weights by name."""


class Journal(Callback):
    """Records a row for each epoch and the best epoch of each task, and writes them to the run's folder.

    The resume state, which has the epoch's weights, is written first; then the files that can be restored from it. So
    if a run is killed, no file belongs to a later epoch than the state, and older files can be restored. Within
    `in_background`, a thread writes them from copies while the next epoch is trained.

    Of equally good epochs, the first is kept. Rows hold no times, so that equal runs give equal files.
    """

    order = 55  # after fastai's recorder

    def __init__(
        self,
        folder: Path,
        validation: Validation,
        losses: LossWatch,
        *,
        identity: dict[str, Any],
        versions: dict[str, str],
        save_checkpoint: SaveCheckpoint,
        writes: bool,
    ) -> None:
        super().__init__()
        self.folder, self.validation, self.losses = folder, validation, losses
        self.identity, self.versions, self.save_checkpoint = identity, versions, save_checkpoint
        self.writes = writes
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, EpochResult] = {}
        self.scaler_state: dict[str, Any] = {}
        self.error: Cov3dError | None = None
        self._copy = HostCopy()
        self._background: BackgroundWork | None = None

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Write in a thread, and wait for it at the end: then `error` is that of the last epoch's files, if any."""
        self._background = background = BackgroundWork()
        try:
            yield
            self._wait()
        finally:
            self._background = None
            background.close()

    def before_fit(self) -> None:
        if self.scaler_state and getattr(self.learn, "scaler", None) is not None:  # a resumed run may have none
            self.learn.scaler.load_state_dict(self.scaler_state)

    def after_epoch(self) -> None:
        result = self.validation.result
        if result is None or result.epoch != self.learn.epoch + 1:
            return
        self.rows.append(
            {
                "epoch": result.epoch,
                "train_loss": self.losses.epoch_loss,
                "valid_loss": self.validation.mean_loss,
                **{f"{task}_f1": self.validation.macro_f1(task) for task in TASKS},
                "learning_rate": float(self.learn.opt.hypers[-1]["lr"]),
            }
        )
        self.best |= {task: result for task in TASKS if self._is_better(task, result)}
        if self.writes:
            self._write_epoch(result)

    def _write_epoch(self, result: EpochResult) -> None:
        self._wait()
        if self.error is not None:
            raise CancelFitException from self.error
        state = self._state(result)
        if self._background is None:
            self._save(state, self.best)
        else:
            tensors = self._copy.take({"model": state.model, "optimiser": state.optimiser})
            self._background.start(partial(self._save, replace(state, **tensors), dict(self.best)))

    def _save(self, state: ResumeState, best: Mapping[str, EpochResult]) -> None:
        self._copy.wait()
        resume.save(self.folder, state)
        self._write(state.history, best, state.model)

    def _wait(self) -> None:
        """Wait for the files of the epoch before, and keep their error."""
        if self._background is not None:
            try:
                self._background.wait()
            except Cov3dError as error:
                self.error = error

    def _is_better(self, task: str, result: EpochResult) -> bool:
        score = result.scores[task].macro_f1
        if score is None or task not in self.best:
            return score is not None
        before = self.best[task].scores[task].macro_f1
        return before is None or score > before

    def write(self) -> None:
        """Write the history and, if the last epoch is a task's best, its weights and predictions."""
        self._write(self.rows, self.best, self.validation.network.state_dict())

    def _write(
        self, rows: Sequence[dict[str, Any]], best: Mapping[str, EpochResult], weights: Mapping[str, Tensor]
    ) -> None:
        history = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        write_text(self.folder / HISTORY, history)
        for task, result in best.items():
            if result.epoch == len(rows):
                self.save_checkpoint(self.folder / checkpoint_name(task), task, result, weights)
                save_predictions(result.table, self.folder / validation_table(task))

    def _state(self, result: EpochResult) -> ResumeState:
        scaler = getattr(self.learn, "scaler", None)
        return ResumeState(
            identity=self.identity,
            versions=self.versions,
            epoch=result.epoch,
            model=self.validation.network.state_dict(),
            optimiser=_plain(self.learn.opt.opt.state_dict()),
            scaler={} if scaler is None else scaler.state_dict(),
            history=list(self.rows),
            best={
                task: {"epoch": best.epoch, "probabilities": torch.from_numpy(best.probabilities)}
                for task, best in self.best.items()
            },
            last=torch.from_numpy(result.probabilities),
        )

    def restore(self, state: ResumeState) -> None:
        """Restore the records from `state`. Network and optimiser are restored elsewhere."""
        self.rows, self.scaler_state = list(state.history), state.scaler
        self.best = {
            task: self.validation.score(best["epoch"], best["probabilities"].numpy())
            for task, best in state.best.items()
        }
        self.validation.result = self.validation.score(state.epoch, state.last.numpy())


def _plain(optimiser: dict[str, Any]) -> dict[str, Any]:
    """The optimiser's state with plain numbers, as torch's safe loader refuses NumPy's."""
    groups = [
        {key: tuple(map(float, value)) if key == "betas" else float(value) if key == "lr" else value
         for key, value in group.items()}
        for group in optimiser["param_groups"]
    ]  # fmt: skip
    return {"state": optimiser["state"], "param_groups": groups}
