"""A labelled prediction table → what a task is scored on: truth, call and probabilities of each scan.

The interval of a score asks what other samples of the same classes would have given. Where resampling can't say, since
every scan was right or a class has one scan, *pseudo-scans* can: one of each class for each way to be called, called so
with certainty, each of half a scan's weight. That is Jeffreys' prior on the rows of the confusion matrix.
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
"""A class with fewer scans than this is warned of."""


@dataclass(frozen=True)
class Calls:
    """The scans that one task is scored on.

    Attributes:
        scans: their names.
        classes: names of the task's classes, in order of severity.
        true: index of the class that each scan is of, shape (scans,).
        called: index of the class that it was called.
        probabilities: of each class, shape (scans, classes), rows that add up to 1; of the presence task p_0 and
            1 − p_0, of the severity task those given that the scan is positive.
    """

    scans: tuple[str, ...]
    classes: tuple[str, ...]
    true: NDArray[np.int64]
    called: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scans)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of scans of each class."""
        return np.bincount(self.true, minlength=len(self.classes))

    @property
    def small(self) -> dict[str, int]:
        """The classes with fewer scans than `FEW`, and how many they have."""
        pairs = zip(self.classes, self.counts.tolist(), strict=True)
        return {name: count for name, count in pairs if count < FEW} if len(self) else {}

    def with_pseudo_scans(self) -> tuple["Calls", NDArray[np.float64]]:
        """The scans and after them the pseudo-scans of the classes that occur, and the prior weight of each row.

        The weight is 0 for a scan and ½ for a pseudo-scan, shape (rows,).
        """
        classes = len(self.classes)
        true = np.repeat(np.flatnonzero(self.counts), classes)
        called = np.tile(np.arange(classes), len(true) // classes)
        extended = Calls(
            (*self.scans, *[""] * len(true)),
            self.classes,
            np.concatenate([self.true, true]),
            np.concatenate([self.called, called]),
            np.concatenate([self.probabilities, np.eye(classes)[called]]),
        )
        return extended, np.repeat([0.0, 0.5], [len(self), len(true)])


def task_calls(table: pd.DataFrame, categories: Sequence[str]) -> dict[str, Calls]:
    """The scans of a labelled prediction table by task: `presence` every labelled scan, `severity` the graded ones.

    Args:
        table: a prediction table with the column `label`; scans without a label are left out.
        categories: names of the outputs.
    """
    table = table[table["label"] != ""]
    labels = np.array([label_index(label, categories) for label in table["label"]], dtype=np.int64)
    graded = (labels > 0) & (labels < len(categories))
    # float64 before anything is computed: the areas under curves depend on ties.
    probabilities = table[probability_columns(categories)].to_numpy(dtype=np.float64)
    negative = probabilities[:, :1]
    return {
        "presence": _calls(table, PRESENCE, (labels > 0), table["presence"], np.hstack([negative, 1 - negative])),
        "severity": _calls(
            table[graded],
            tuple(categories[1:]),
            labels[graded] - 1,
            table["severity"][graded],
            conditional_of(table[graded], categories),
        ),
    }


def _calls(
    table: pd.DataFrame, classes: tuple[str, ...], true: NDArray[Any], called: pd.Series, probabilities: NDArray[Any]
) -> Calls:
    index = {name: number for number, name in enumerate(classes)}
    return Calls(
        tuple(table["scan"]),
        classes,
        true.astype(np.int64),
        np.array([index[name] for name in called], dtype=np.int64),
        np.clip(probabilities, 0.0, 1.0),  # rounding puts some above 1
    )
