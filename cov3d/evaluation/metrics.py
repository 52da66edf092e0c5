"""Probabilities → predicted classes of the two tasks, and their macro F1 (section 3.6; the challenge's score)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.evaluation.confusion import confusion, f1, macro_f1
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY, label_index

PRESENCE = (NON_COVID, UNKNOWN_SEVERITY)
"""The two classes of the presence task: negative, positive."""


@dataclass(frozen=True)
class TaskScore:
    """The scores of one task.

    Attributes:
        classes: names of the classes, in order.
        scans: number of scored scans.
        macro_f1: mean of the F1 over all `classes`, whether they occur or not; None if no scan was scored.
        f1: F1 of each class; 0 if it neither occurs nor is predicted.
        confusion: number of scans by true class (rows) and predicted class (columns).
    """

    classes: tuple[str, ...]
    scans: int
    macro_f1: float | None
    f1: tuple[float, ...]
    confusion: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """The score as plain values for JSON."""
        return {
            "macro_f1": self.macro_f1,
            "scans": self.scans,
            "f1": dict(zip(self.classes, self.f1, strict=True)),
            "confusion": self.confusion.tolist(),
        }


def conditional_severity(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Conditional probability of each severity, p_c / (1 − p_0): (…, categories) → (…, categories − 1).

    The divisor is the sum of the positive categories, because 1 − p_0 loses digits near p_0 = 1.
    """
    positive = probabilities[..., 1:]
    total = positive.sum(axis=-1, keepdims=True)
    even = 1.0 / positive.shape[-1]
    return np.divide(positive, total, out=np.full_like(positive, even), where=total > 0)


THRESHOLD = 0.5
"""A scan is predicted positive if its probability of non-COVID is below this."""


def predict_presence(probabilities: NDArray[Any], threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """1 if a scan is predicted positive, p_0 < `threshold`, else 0."""
    return (probabilities[..., 0] < threshold).astype(np.int64)


def predict_severity(conditional: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the most probable severity, 0 for the mildest."""
    return conditional.argmax(axis=-1).astype(np.int64)


def score_presence(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> TaskScore:
    """Score the presence of all scans; `labels` are label indices, positive from 1."""
    return _score((labels > 0).astype(np.int64), predicted, PRESENCE)


def score_severity(labels: NDArray[np.int64], predicted: NDArray[np.int64], categories: Sequence[str]) -> TaskScore:
    """Score the severity of the scans with a severity label, over all severities, whether they occur or not."""
    has_severity = (labels > 0) & (labels < label_index(UNKNOWN_SEVERITY, categories))
    return _score(labels[has_severity] - 1, predicted[has_severity], tuple(categories[1:]))


def _score(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: tuple[str, ...]) -> TaskScore:
    matrix = confusion(true, predicted, len(classes), np.ones(len(true)))
    return TaskScore(
        classes=classes,
        scans=len(true),
        macro_f1=float(macro_f1(matrix)) if len(true) else None,
        f1=tuple(f1(matrix).tolist()),
        confusion=matrix.astype(np.int64),
    )
