"""A checkpoint on a labelled fold → its prediction table and scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cov3d.errors import CheckpointError
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.predictions import prediction_table, save_predictions, score_table
from cov3d.files import write_text
from cov3d.inference.kept import Kept
from cov3d.inference.task import Task
from cov3d.labels import TASKS, UNKNOWN_SEVERITY, categories_of
from cov3d.preprocessing.store import Store
from cov3d.run_files import CENTRES, ORIGIN, PREDICTIONS, SCORE_PICTURES, SCORE_TABLE, SCORES, confusion_table
from cov3d.training.checkpoint import CheckpointInfo

if TYPE_CHECKING:  # they load torch, and scoring a table that is there already needs none
    import torch

    from cov3d.inference.predict import Member

RESULT_FILES = (
    *(PREDICTIONS, SCORES, SCORE_TABLE, CENTRES, ORIGIN),
    *(confusion_table(task) for task in TASKS),
    *SCORE_PICTURES,
)


@dataclass(frozen=True)
class Validated:
    """Scores of a checkpoint on a fold, with the labelled prediction table that they come from."""

    table: pd.DataFrame
    presence: TaskScore
    severity: TaskScore


def validate(
    member: "Member",
    scans: pd.DataFrame,
    store: Store,
    *,
    device: "torch.device",
    workers: int = 0,
    batch_size: int = 2,
    kept: Kept | None = None,
) -> Validated:
    """Predict labelled scans (a table `scan, label`) from the store and score the calls.

    Args:
        kept: what an earlier, interrupted command predicted is taken from here, and what is predicted goes here.

    Raises:
        StoreError: a scan is not in the store.
        OutputError: `kept` can't be written.
    """
    from cov3d.inference.predict import predict_store
    from cov3d.training.loaders import check_preprocessed

    check_preprocessed(list(scans["scan"]), store)
    how: dict[str, Any] = {"device": device, "workers": workers, "batch_size": batch_size}
    probabilities = predict_store(member, scans, store, kept=kept, **how)
    table = prediction_table(list(scans["scan"]), probabilities, member.info.categories, labels=list(scans["label"]))
    presence, severity = score_table(table, member.info.categories)
    return Validated(table, presence, severity)


def macro_f1(table: pd.DataFrame, categories: Sequence[str], task: Task) -> float:
    """The macro F1 of a task in a labelled table; NaN where no scan can be scored for it."""
    score = score_table(table, categories)[0 if task == Task.PRESENCE else 1].macro_f1
    return float("nan") if score is None else score


def fold_scores(
    table: pd.DataFrame, categories: Sequence[str], folds: Mapping[str, int], task: Task
) -> dict[int, float]:
    """The macro F1 of a task in each of the folds that has scans to score.

    Args:
        table: a prediction table.
        categories: of its columns.
        folds: the fold of each scan; scans without one are left out.
        task: presence or severity.
    """
    if "label" not in table:
        return {}
    fold = table["scan"].map(folds)
    found = {
        int(number): macro_f1(rows, categories, task)
        for number, rows in table[table["label"] != ""].groupby(fold, sort=True)
    }
    return {number: score for number, score in found.items() if score == score}


def check_labels(info: CheckpointInfo, labels: Iterable[str]) -> None:
    """Make sure that a checkpoint's categories are those of a labelled dataset.

    Raises:
        CheckpointError: the labels are another dataset's.
    """
    found = set(labels)
    if not found <= {"", *info.categories, UNKNOWN_SEVERITY}:
        raise CheckpointError(
            f"the checkpoint has the categories {', '.join(info.categories)}, but the scan table those of another "
            f"dataset, {', '.join(categories_of(found))}: give a checkpoint trained on it, or predict its scans with "
            "cov3d infer"
        )


def save_validated(validated: Validated, folder: Path) -> None:
    """Write `predictions.csv` and a confusion matrix a task (`confusion-<task>.csv`).

    Raises:
        OutputError: the folder can't be written.
    """
    save_predictions(validated.table, folder / PREDICTIONS)
    save_confusion({"presence": validated.presence, "severity": validated.severity}, folder)


def save_confusion(scores: Mapping[str, TaskScore], folder: Path) -> None:
    """Write a confusion matrix a task, `confusion-<task>.csv`: true classes by called ones.

    Raises:
        OutputError: the folder can't be written.
    """
    for task, score in scores.items():
        counts = pd.DataFrame(score.confusion, index=pd.Index(score.classes, name="true"), columns=score.classes)
        write_text(folder / confusion_table(task), counts.to_csv(lineterminator="\n"))
