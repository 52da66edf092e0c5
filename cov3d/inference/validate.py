"""Predict and score a labelled fold with a checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cov3d.errors import CheckpointError
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.predictions import prediction_table, save_predictions, score_table
from cov3d.files import write_text
from cov3d.inference.kept import KeptPredictions
from cov3d.inference.task import Task
from cov3d.labels import TASKS, UNKNOWN_SEVERITY, categories_of
from cov3d.preprocessing.store import Store
from cov3d.run_files import CENTRES, ORIGIN, PREDICTIONS, SCORE_PICTURES, SCORE_TABLE, SCORES, confusion_table
from cov3d.training.checkpoint import CheckpointInfo

if TYPE_CHECKING:  # they load torch, which is not needed to score an existing table
    import torch

    from cov3d.inference.networks import Member

RESULT_FILES = (
    *(PREDICTIONS, SCORES, SCORE_TABLE, CENTRES, ORIGIN),
    *(confusion_table(task) for task in TASKS),
    *SCORE_PICTURES,
)


@dataclass(frozen=True)
class Validated:
    """Scores of a checkpoint on a fold, with the labelled prediction table."""

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
    kept: KeptPredictions | None = None,
) -> Validated:
    """Predict labelled scans from the store and score the predictions.

    Args:
        member: the network.
        scans: a table with the columns `scan` and `label`.
        store: the scans' preprocessed volumes.
        device: where the network is.
        workers: number of processes that load volumes.
        batch_size: scans per forward pass.
        kept: predictions of an interrupted command are taken from here, and new ones are added.

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
    """The macro F1 of a task in a labelled table; NaN if no scan can be scored."""
    score = score_table(table, categories)[0 if task == Task.PRESENCE else 1].macro_f1
    return float("nan") if score is None else score


def fold_scores(
    table: pd.DataFrame, categories: Sequence[str], folds: Mapping[str, int], task: Task
) -> dict[int, float]:
    """The macro F1 of a task by fold, for the folds that have scans to score.

    Args:
        table: a prediction table.
        categories: of its columns.
        folds: the fold of each scan; scans without a fold are left out.
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
    """Check that a checkpoint has the categories of a labelled dataset.

    Raises:
        CheckpointError: the labels belong to another dataset.
    """
    found = set(labels)
    if not found <= {"", *info.categories, UNKNOWN_SEVERITY}:
        raise CheckpointError(
            f"the checkpoint has the categories {', '.join(info.categories)}, but the scan table has those of another "
            f"dataset, {', '.join(categories_of(found))}: give a checkpoint trained on that dataset, or predict its "
            "scans with cov3d infer"
        )


def save_validated(validated: Validated, folder: Path) -> None:
    """Write `predictions.csv`, and a confusion matrix for each task (`confusion-<task>.csv`).

    Raises:
        OutputError: the folder can't be written.
    """
    save_predictions(validated.table, folder / PREDICTIONS)
    save_confusion({"presence": validated.presence, "severity": validated.severity}, folder)


def save_confusion(scores: Mapping[str, TaskScore], folder: Path) -> None:
    """Write a confusion matrix for each task, `confusion-<task>.csv`: true classes (rows) by predicted classes.

    Raises:
        OutputError: the folder can't be written.
    """
    for task, score in scores.items():
        counts = pd.DataFrame(score.confusion, index=pd.Index(score.classes, name="true"), columns=score.classes)
        write_text(folder / confusion_table(task), counts.to_csv(lineterminator="\n"))
