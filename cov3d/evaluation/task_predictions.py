"""A labelled prediction table → true class, predicted class and probabilities of each scan, for one task.

Intervals estimate the scores of other samples of the same classes. If resampling has no result, because every scan is
right or a class has one scan, *pseudo-scans* are added. For each true class there is one for each class that can be
predicted, with a probability of 1 for it and half the weight of a scan. This is Jeffreys' prior on the rows of the
confusion matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.evaluation.metrics import PRESENCE
from cov3d.evaluation.predictions import conditional_of, probability_columns
from cov3d.labels import label_index

FEW = 10
"""A class with fewer scans than this causes a warning."""


@dataclass(frozen=True)
class TaskPredictions:
    """The scans that one task is scored on, with their predictions.

    Attributes:
        scans: names of the scans.
        classes: names of the task's classes, in order of severity.
        true: index of each scan's true class, shape (scans,).
        predicted: index of each scan's predicted class.
        probabilities: probability of each class, shape (scans, classes); rows add up to 1. For presence they are
            p_0 and 1 − p_0, for severity the conditional probabilities.
    """

    scans: tuple[str, ...]
    classes: tuple[str, ...]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scans)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of scans of each class."""
        return np.bincount(self.true, minlength=len(self.classes))

    @property
    def small(self) -> dict[str, int]:
        """The classes with fewer than `FEW` scans, and their numbers of scans."""
        pairs = zip(self.classes, self.counts.tolist(), strict=True)
        return {name: count for name, count in pairs if count < FEW} if len(self) else {}

    def with_pseudo_scans(self) -> tuple["TaskPredictions", NDArray[np.float64]]:
        """The scans, followed by the pseudo-scans of the classes that occur, and the prior weight of each row.

        The weight is 0 for a scan and ½ for a pseudo-scan, shape (rows,).
        """
        classes = len(self.classes)
        true = np.repeat(np.flatnonzero(self.counts), classes)
        predicted = np.tile(np.arange(classes), len(true) // classes)
        extended = TaskPredictions(
            (*self.scans, *[""] * len(true)),
            self.classes,
            np.concatenate([self.true, true]),
            np.concatenate([self.predicted, predicted]),
            np.concatenate([self.probabilities, np.eye(classes)[predicted]]),
        )
        return extended, np.repeat([0.0, 0.5], [len(self), len(true)])


def task_predictions(table: pd.DataFrame, categories: Sequence[str]) -> dict[str, TaskPredictions]:
    """The scans of a labelled prediction table by task: for `presence` all, for `severity` those with a severity.

    Args:
        table: a prediction table with the column `label`; scans without a label are left out.
        categories: names of the outputs.
    """
    table = table[table["label"] != ""]
    labels = np.array([label_index(label, categories) for label in table["label"]], dtype=np.int64)
    has_severity = (labels > 0) & (labels < len(categories))
    # float64 from the start: the areas under curves depend on ties.
    probabilities = table[probability_columns(categories)].to_numpy(dtype=np.float64)
    negative = probabilities[:, :1]
    return {
        "presence": _task(table, PRESENCE, (labels > 0), table["presence"], np.hstack([negative, 1 - negative])),
        "severity": _task(
            table[has_severity],
            tuple(categories[1:]),
            labels[has_severity] - 1,
            table["severity"][has_severity],
            conditional_of(table[has_severity], categories),
        ),
    }


def _task(
    table: pd.DataFrame, classes: tuple[str, ...], true: NDArray[Any], predicted: pd.Series, probabilities: NDArray[Any]
) -> TaskPredictions:
    index = {name: number for number, name in enumerate(classes)}
    return TaskPredictions(
        tuple(table["scan"]),
        classes,
        true.astype(np.int64),
        np.array([index[name] for name in predicted], dtype=np.int64),
        np.clip(probabilities, 0.0, 1.0),  # some are above 1 by rounding
    )
