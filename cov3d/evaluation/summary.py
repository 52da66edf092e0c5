"""The summary of a finished run, `summary.json`: how its epochs were chosen, and the scores of the best and last epoch.

The best epoch is chosen by its score on the fold, so this score is too high, the more so the more epochs there are. The
last epoch is not chosen by a score. Wherever the score of the best epoch is shown, the score of the last is shown too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cov3d.evaluation.metrics import TaskScore
from cov3d.files import write_text
from cov3d.run_files import SUMMARY, read_summary

SELECTED = "selected on this fold"


def write_summary(
    folder: Path,
    epochs: int,
    best: Mapping[str, tuple[int, TaskScore] | None],
    last: Mapping[str, TaskScore] | None,
    *,
    chosen_in: str | None = None,
) -> None:
    """Write each task's score at its best epoch, marked as selected on the fold, and at the last epoch.

    Args:
        folder: folder of the run.
        epochs: number of epochs.
        best: the best epoch and its score, by task; None if no scan could be scored.
        last: scores of the last epoch, by task.
        chosen_in: precision of the scores by which the epochs were chosen, if these scores have another.

    Raises:
        OutputError: the file can't be written.
    """
    tasks = {
        task: {
            "best_epoch": chosen and chosen[0],
            "best_is": f"{SELECTED}: the best macro F1 of {epochs} epochs; expect lower scores on new scans",
            "epochs_to_choose_from": epochs,
            **({} if chosen_in is None else {"chosen_in": chosen_in}),
            "best": chosen and chosen[1].as_dict(),
            "last_epoch": last and epochs,
            "last": last and last[task].as_dict(),
        }
        for task, chosen in best.items()
    }
    write_text(folder / SUMMARY, json.dumps({"epochs": epochs, "tasks": tasks}, indent=2) + "\n")


@dataclass(frozen=True)
class Selection:
    """The choice of an epoch on the fold that is scored.

    Attributes:
        task: the task whose macro F1 was maximised.
        epoch: the chosen epoch.
        epochs: number of epochs to choose from; None if the run's summary is missing.
        last: macro F1 of each task at the last epoch, as far as known.
    """

    task: str
    epoch: int
    epochs: int | None
    last: Mapping[str, float]

    def __str__(self) -> str:
        if self.epochs == 1:
            return f"epoch {self.epoch}, the only epoch"
        of = "" if self.epochs is None else f" of {self.epochs}"
        return f"epoch {self.epoch}{of}, {SELECTED} by {self.task} macro F1"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "selected": SELECTED,
            "by": f"{self.task} macro F1",
            "epoch": self.epoch,
            "epochs_to_choose_from": self.epochs,
            "last_epoch_macro_f1": dict(self.last),
        }


def selection_of(run: Path, task: str, epoch: int) -> Selection:
    """How the epoch of a checkpoint in a run's folder was chosen.

    The number of epochs and the scores of the last epoch are from the run's summary, if it names the same epoch.
    """
    known = selection_of_run(run, task)
    return known if known and known.epoch == epoch else Selection(task, epoch, None, {})


def selection_of_run(folder: Path, task: str) -> Selection | None:
    """How a finished run chose its epoch for a task, from its summary; None if there is no summary or no choice."""
    try:
        summary = read_summary(folder)
        epoch = summary["tasks"][task]["best_epoch"]
        last = {name: scores["last"]["macro_f1"] for name, scores in summary["tasks"].items() if scores["last"]}
        if epoch is None:
            return None
        known = {name: float(score) for name, score in last.items() if score is not None}
        return Selection(task, epoch, summary["epochs"], known)
    except (OSError, ValueError, KeyError):
        return None  # not the folder of a finished run, or a damaged summary
