"""Writes the results of each epoch: history, the best weights of each task, and the state for resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException

from cov3d.errors import Cov3dError
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import HISTORY, checkpoint_name, validation_table
from cov3d.training import resume
from cov3d.training.callbacks import EpochResult, LossWatch, Validation
from cov3d.training.resume import ResumeState


class Journal(Callback):
    """Records a row for each epoch and the best epoch of each task, and writes them to the run's folder.

    The resume state, which has the epoch's weights, is written first; then the files that can be restored from it. So
    if a run is killed, no file belongs to a later epoch than the state, and older files can be restored.

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
        save_checkpoint: Callable[[Path, str, EpochResult], None],
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
            try:
                resume.save(self.folder, self._state(result))
                self.write()
            except Cov3dError as error:
                self.error = error
                raise CancelFitException from error

    def _is_better(self, task: str, result: EpochResult) -> bool:
        score = result.scores[task].macro_f1
        if score is None or task not in self.best:
            return score is not None
        before = self.best[task].scores[task].macro_f1
        return before is None or score > before

    def write(self) -> None:
        """Write the history and, if the last epoch is a task's best, its weights and predictions."""
        history = pd.DataFrame(self.rows).to_csv(index=False, lineterminator="\n")
        write_text(self.folder / HISTORY, history)
        for task, result in self.best.items():
            if result.epoch == len(self.rows):
                self.save_checkpoint(self.folder / checkpoint_name(task), task, result)
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
            history=self.rows,
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
