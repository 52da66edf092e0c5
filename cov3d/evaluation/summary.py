"""The summary of a finished run, `summary.json`: how its epochs were chosen, and how good they and the last one are.

The epoch with the best score of a fold is chosen on that fold: its score flatters, the more so the more epochs there
were to choose from. The score of the last epoch was not chosen by anything. Wherever the one is shown, so is the other.
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
    """Write each task's score at its best epoch, marked as chosen on the fold, and at the last.

    Args:
        folder: the run's.
        epochs: how many the best ones were chosen among.
        best: the best epoch and its score, by task; None where no scan could be scored.
        last: the last epoch's scores, by task.
        chosen_in: the precision of the scores that the epochs were chosen by, if it is not that of these scores.

    Raises:
        OutputError: the file can't be written.
    """
    tasks = {
        task: {
            "best_epoch": chosen and chosen[0],
            "best_is": f"{SELECTED}, among {epochs} epochs, by its own macro F1: it flatters",
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
        task: by whose macro F1 it was chosen.
        epoch: the epoch.
        epochs: how many there were to choose from; None where the run's summary is not at hand.
        last: macro F1 of each task at the last epoch, as far as it is known.
    """

    task: str
    epoch: int
    epochs: int | None
    last: Mapping[str, float]

    def __str__(self) -> str:
        among = "" if self.epochs is None else f" among {self.epochs}"
        return f"epoch {self.epoch}{among}, {SELECTED} by {self.task} macro F1"

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
    """How the epoch of a checkpoint in a run's folder was chosen, on the fold that it was validated on.

    What the checkpoint does not say comes from the summary of the run beside it, if it is of the same choice.
    """
    known = selection_of_run(run, task)
    return known if known and known.epoch == epoch else Selection(task, epoch, None, {})


def selection_of_run(folder: Path, task: str) -> Selection | None:
    """How a finished run chose its epoch for a task, by its summary; None where there is none or no choice."""
    try:
        summary = read_summary(folder)
        epoch = summary["tasks"][task]["best_epoch"]
        last = {name: said["last"]["macro_f1"] for name, said in summary["tasks"].items() if said["last"]}
        if epoch is None:
            return None
        known = {name: float(score) for name, score in last.items() if score is not None}
        return Selection(task, epoch, summary["epochs"], known)
    except (OSError, ValueError, KeyError):
        return None  # not a run's folder, one that goes on, or a summary that others wrote
