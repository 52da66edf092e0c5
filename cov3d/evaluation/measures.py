"""The scores of a task as functions of the weights of its scans, many weightings at once.

A bootstrap needs thousands of weightings. What does not depend on them, the order of the probabilities and the bins, is
found once. With every weight 1 they are the scores themselves. The scores of a confusion matrix are in `confusion`.

scikit-learn computes the same, one weighting at a time; the tests compare with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cov3d.evaluation.calls import Calls
from cov3d.evaluation.confusion import (
    Scores,
    Weights,
    category_error,
    confusion,
    f1_of,
    macro_f1,
    weighted_kappa,
)
from cov3d.evaluation.metrics import PRESENCE

BINS = 10
"""Bins of equal width, from 0 to 1, of the calibration error and the reliability diagram."""

MACRO_F1, F1 = "macro F1", "F1"
ROC_AREA, PR_AREA, SENSITIVITY = "ROC area", "PR area", "sensitivity at specificity"
CATEGORY_ERROR, KAPPA = "category error", "weighted kappa"
CALIBRATION_ERROR = "calibration error"


@dataclass(frozen=True)
class Name:
    """What a score is: its name, and the class that it is of, empty where it is of the task."""

    score: str
    of_class: str = ""


class Measures:
    """Every score that is defined for some scans, as a function (…, rows) → (scores, …) of their weights.

    A class without scans has no F1 of its own; where only one class occurs there is nothing to tell apart, and so
    neither areas nor kappa.

    Args:
        calls: the scans; at least one.
        rows: the same, or with pseudo-scans after them.
        specificity: at which the sensitivity is taken.

    Attributes:
        names: the scores, in their order.
    """

    def __init__(self, calls: Calls, rows: Calls, specificity: float) -> None:
        self.rows = rows
        occur = np.flatnonzero(calls.counts).tolist()
        several, binary = len(occur) > 1, calls.classes == PRESENCE
        self._of_confusion: dict[Name, Callable[[Scores], Scores]] = {Name(MACRO_F1): macro_f1}
        self._of_confusion |= {Name(F1, calls.classes[c]): partial(f1_of, c) for c in occur}
        if not binary:
            self._of_confusion[Name(CATEGORY_ERROR)] = category_error
        if not binary and several:
            self._of_confusion[Name(KAPPA)] = weighted_kappa
        self._calibration = partial(calibration_error, *confidence(rows))
        self._rankings: list[Ranking] = []
        self.names = [*self._of_confusion, Name(CALIBRATION_ERROR)]
        for c in ([1] if binary else occur) if several else []:
            scans = np.arange(len(rows)) < len(calls)
            threshold = Threshold(specificity, scans) if binary else None
            self._rankings.append(Ranking(rows.true == c, rows.probabilities[:, c], threshold))
            scores = (ROC_AREA, PR_AREA, SENSITIVITY) if binary else (ROC_AREA, PR_AREA)
            self.names += [Name(score, calls.classes[c]) for score in scores]

    def __call__(self, weights: Weights) -> Scores:
        matrix = confusion(self.rows.true, self.rows.called, len(self.rows.classes), weights)
        found = [measure(matrix) for measure in self._of_confusion.values()]
        found.append(self._calibration(weights))
        for ranking in self._rankings:
            found += ranking(weights)
        return np.stack(found)


def confidence(calls: Calls) -> tuple[Scores, NDArray[np.bool_]]:
    """A probability of each scan, and whether what it is of came true, for the calibration.

    Of the presence task 1 − p_0, and whether the scan is positive; of the severity task the probability of the grade
    that was called, and whether that is right.
    """
    if calls.classes == PRESENCE:
        return calls.probabilities[:, 1], calls.true == 1
    return calls.probabilities[np.arange(len(calls)), calls.called], calls.true == calls.called


def bins_of(probabilities: Scores) -> NDArray[np.int64]:
    """The bin of each probability; one on an edge is of the lower bin, as with scikit-learn's calibration_curve."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)


def calibration_error(probabilities: Scores, came_true: NDArray[np.bool_], weights: Weights) -> Scores:
    """Expected calibration error: mean of |share that came true − mean probability| over the bins, by their scans."""
    gaps = np.zeros((len(probabilities), BINS))
    gaps[np.arange(len(probabilities)), bins_of(probabilities)] = came_true - probabilities
    return np.abs(weights @ gaps).sum(axis=-1) / weights.sum(axis=-1)


@dataclass(frozen=True)
class Threshold:
    """What the threshold is set by at which the sensitivity is taken: a specificity, on the negatives that are scans.

    A negative pseudo-scan, surely called positive, would alone leave no threshold of a high specificity, however many
    scans are all told apart; the interval would be 0 to 1.
    """

    specificity: float
    scans: NDArray[np.bool_]


class Ranking:
    """The scores of a class that depend on the order of its probabilities: areas, sensitivity at a specificity.

    Args:
        positive: whether each row is of the class.
        probabilities: of the class.
        threshold: where the sensitivity is wanted, else None.
    """

    def __init__(self, positive: NDArray[np.bool_], probabilities: Scores, threshold: Threshold | None) -> None:
        self.order = np.argsort(-probabilities, kind="stable")
        self.positive = positive[self.order]
        self.last_of_ties = np.flatnonzero(np.append(np.diff(probabilities[self.order]) != 0, True))
        self.threshold = threshold
        self.negative_scans = ~self.positive & (True if threshold is None else threshold.scans[self.order])

    def __call__(self, weights: Weights) -> list[Scores]:
        """ROC area, area under precision and recall, and the sensitivity where it is wanted."""
        true, called = self.counts(weights)
        found = [_roc_area(true, called - true), _pr_area(true, called)]
        if self.threshold is None:
            return found
        ranked = weights[..., self.order]
        false_scans = np.cumsum(ranked * self.negative_scans, axis=-1)[..., self.last_of_ties]
        return [*found, _sensitivity(true, false_scans, self.threshold.specificity)]

    def counts(self, weights: Weights) -> tuple[Scores, Scores]:
        """Weight of the true positives and of all called so, at each threshold: (…, rows) → two of (…, thresholds)."""
        ranked = weights[..., self.order]
        called = np.cumsum(ranked, axis=-1)[..., self.last_of_ties]
        return np.cumsum(ranked * self.positive, axis=-1)[..., self.last_of_ties], called


def _roc_area(true: Scores, false: Scores) -> Scores:
    """Area under the receiver operating characteristic, by trapezia, of the positives and negatives called so far."""
    below = np.concatenate([np.zeros_like(true[..., :1]), true[..., :-1]], axis=-1)
    steps = np.diff(false, axis=-1, prepend=0)
    return (steps * (true + below)).sum(axis=-1) / (2 * true[..., -1] * false[..., -1])


def _pr_area(true: Scores, called: Scores) -> Scores:
    """Average precision: the precision at each threshold, by the recall gained there."""
    return (precision(true, called) * np.diff(true, axis=-1, prepend=0)).sum(axis=-1) / true[..., -1]


def precision(true: Scores, called: Scores) -> Scores:
    """Share of the scans called so that are; 0 where none is called so."""
    return np.divide(true, called, out=np.zeros_like(true), where=called > 0)


def _sensitivity(true: Scores, false: Scores, specificity: float) -> Scores:
    """The greatest share of positives found at a threshold that keeps the specificity."""
    # What is allowed must not fall short by the rounding of weights that are no whole numbers.
    allowed = (1 - specificity) * false[..., -1:] + 1e-9
    return np.where(false <= allowed, true, 0.0).max(axis=-1) / true[..., -1]
