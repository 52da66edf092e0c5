"""Probabilities → the calls for the two tasks, and their macro F1 (section 3.6; the challenge's measure)."""

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
    """How well one task was done.

    Attributes:
        classes: names of the classes, in order.
        scans: number of scans that were scored.
        macro_f1: mean of the F1 over all of `classes`, whether they occur or not; None where no scan was scored.
        f1: F1 of each class; 0 where it neither occurs nor is called.
        confusion: counts, true class by called class.
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
    """p_c / (1 − p_0), the severity given that the scan is positive: (…, categories) → (…, categories − 1).

    Divided by the sum of the positive categories rather than by 1 − p_0, which would lose its digits near p_0 = 1.
    """
    positive = probabilities[..., 1:]
    total = positive.sum(axis=-1, keepdims=True)
    even = 1.0 / positive.shape[-1]
    return np.divide(positive, total, out=np.full_like(positive, even), where=total > 0)


THRESHOLD = 0.5
"""A scan is predicted positive where its probability of non-COVID is below this."""


def call_presence(probabilities: NDArray[Any], threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """1 where a scan is predicted positive, p_0 < `threshold`, else 0."""
    return (probabilities[..., 0] < threshold).astype(np.int64)


def call_severity(conditional: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the likeliest severity, 0 for the mildest."""
    return conditional.argmax(axis=-1).astype(np.int64)


def score_presence(labels: NDArray[np.int64], called: NDArray[np.int64]) -> TaskScore:
    """Score the presence task: every scan; `labels` are label indices, positive from 1 on."""
    return _score((labels > 0).astype(np.int64), called, PRESENCE)


def score_severity(labels: NDArray[np.int64], called: NDArray[np.int64], categories: Sequence[str]) -> TaskScore:
    """Score the severity task: scans with a severity label only, over all severities, occurring or not."""
    graded = (labels > 0) & (labels < label_index(UNKNOWN_SEVERITY, categories))
    return _score(labels[graded] - 1, called[graded], tuple(categories[1:]))


def _score(true: NDArray[np.int64], called: NDArray[np.int64], classes: tuple[str, ...]) -> TaskScore:
    matrix = confusion(true, called, len(classes), np.ones(len(true)))
    return TaskScore(
        classes=classes,
        scans=len(true),
        macro_f1=float(macro_f1(matrix)) if len(true) else None,
        f1=tuple(f1(matrix).tolist()),
        confusion=matrix.astype(np.int64),
    )
