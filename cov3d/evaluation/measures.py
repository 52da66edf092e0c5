"""The scores of a task as functions of the weights of its scans, for many sets of weights at once.

The bootstrap needs thousands of sets of weights. The order of the probabilities and the bins do not depend on them and
are computed once. If all weights are 1, the results are the scores themselves. The scores of a confusion matrix are in
`confusion`.

scikit-learn computes the same for one set of weights at a time; the tests compare with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

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
from cov3d.evaluation.task_predictions import TaskPredictions

BINS = 10
"""Bins of equal width, from 0 to 1, of the calibration error and the reliability diagram."""

MACRO_F1, F1 = "macro F1", "F1"
ROC_AREA, PR_AREA, SENSITIVITY = "ROC area", "PR area", "sensitivity at specificity"
CATEGORY_ERROR, KAPPA = "category error", "weighted kappa"
CALIBRATION_ERROR = "calibration error"


@dataclass(frozen=True)
class Name:
    """A score's name and its class; the class is empty for a score of the task."""

    score: str
    of_class: str = ""


class Measures:
    """Every score that is defined for some scans, as a function (…, rows) → (scores, …) of their weights.

    A class without scans has no F1. If only one class occurs, there are no areas and no kappa.

    Args:
        predictions: the scans; at least one.
        rows: the same scans, or these followed by pseudo-scans.
        specificity: specificity at which the sensitivity is computed.

    Attributes:
        names: the scores, in order.
    """

    def __init__(self, predictions: TaskPredictions, rows: TaskPredictions, specificity: float) -> None:
        self.rows = rows
        occur = np.flatnonzero(predictions.counts).tolist()
        several, binary = len(occur) > 1, predictions.classes == PRESENCE
        self._of_confusion: dict[Name, Callable[[Scores], Scores]] = {Name(MACRO_F1): macro_f1}
        self._of_confusion |= {Name(F1, predictions.classes[c]): partial(f1_of, c) for c in occur}
        if not binary:
            self._of_confusion[Name(CATEGORY_ERROR)] = category_error
        if not binary and several:
            self._of_confusion[Name(KAPPA)] = weighted_kappa
        self._calibration = partial(calibration_error, *confidence(rows))
        self._rankings: list[Ranking] = []
        self.names = [*self._of_confusion, Name(CALIBRATION_ERROR)]
        for c in ([1] if binary else occur) if several else []:
            scans = np.arange(len(rows)) < len(predictions)
            threshold = Threshold(specificity, scans) if binary else None
            self._rankings.append(Ranking(rows.true == c, rows.probabilities[:, c], threshold))
            scores = (ROC_AREA, PR_AREA, SENSITIVITY) if binary else (ROC_AREA, PR_AREA)
            self.names += [Name(score, predictions.classes[c]) for score in scores]

    def __call__(self, weights: Weights) -> Scores:
        matrix = confusion(self.rows.true, self.rows.predicted, len(self.rows.classes), weights)
        found = [measure(matrix) for measure in self._of_confusion.values()]
        found.append(self._calibration(weights))
        for ranking in self._rankings:
            found += ranking(weights)
        return np.stack(found)


def confidence(predictions: TaskPredictions) -> tuple[Scores, NDArray[np.bool_]]:
    """A probability of each scan and whether it came true, for the calibration.

    For presence: 1 − p_0, and whether the scan is positive. For severity: the probability of the predicted severity,
    and whether it is right.
    """
    if predictions.classes == PRESENCE:
        return predictions.probabilities[:, 1], predictions.true == 1
    predicted = predictions.predicted
    return predictions.probabilities[np.arange(len(predictions)), predicted], predictions.true == predicted


def bins_of(probabilities: Scores) -> NDArray[np.int64]:
    """The bin of each probability. On an edge it is the lower bin, as in scikit-learn's calibration_curve."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)


def calibration_error(probabilities: Scores, came_true: NDArray[np.bool_], weights: Weights) -> Scores:
    """Expected calibration error: mean |share that came true − mean probability| of the bins, weighted by scans."""
    gaps = np.zeros((len(probabilities), BINS))
    gaps[np.arange(len(probabilities)), bins_of(probabilities)] = came_true - probabilities
    return np.abs(weights @ gaps).sum(axis=-1) / weights.sum(axis=-1)


@dataclass(frozen=True)
class Threshold:
    """The specificity at which the sensitivity is computed, and the rows that it is measured on.

    These are the scans without the pseudo-scans. One negative pseudo-scan with a probability of 1 would rule out every
    threshold with a high specificity, so the interval would always be 0 to 1.

    Attributes:
        specificity: the least specificity.
        scans: which rows are scans.
    """

    specificity: float
    scans: NDArray[np.bool_]


class Ranking:
    """The scores of a class that depend on the order of its probabilities: areas, sensitivity at a specificity.

    Args:
        positive: whether each row belongs to the class.
        probabilities: probability of the class for each row.
        threshold: for the sensitivity; None to leave it out.
    """

    def __init__(self, positive: NDArray[np.bool_], probabilities: Scores, threshold: Threshold | None) -> None:
        self.order = np.argsort(-probabilities, kind="stable")
        self.positive = positive[self.order]
        self.last_of_ties = np.flatnonzero(np.append(np.diff(probabilities[self.order]) != 0, True))
        self.threshold = threshold
        self.negative_scans = ~self.positive & (True if threshold is None else threshold.scans[self.order])

    def __call__(self, weights: Weights) -> list[Scores]:
        """ROC area, PR area and, with a threshold, the sensitivity."""
        true, predicted = self.counts(weights)
        found = [_roc_area(true, predicted - true), _pr_area(true, predicted)]
        if self.threshold is None:
            return found
        ranked = weights[..., self.order]
        false_scans = np.cumsum(ranked * self.negative_scans, axis=-1)[..., self.last_of_ties]
        return [*found, _sensitivity(true, false_scans, self.threshold.specificity)]

    def counts(self, weights: Weights) -> tuple[Scores, Scores]:
        """Weight of true positives and of all positive predictions by threshold: (…, rows) → two of (…, thresholds)."""
        ranked = weights[..., self.order]
        predicted = np.cumsum(ranked, axis=-1)[..., self.last_of_ties]
        return np.cumsum(ranked * self.positive, axis=-1)[..., self.last_of_ties], predicted


def _roc_area(true: Scores, false: Scores) -> Scores:
    """Area under the ROC curve by the trapezoidal rule, from true and false positives at each threshold."""
    below = np.concatenate([np.zeros_like(true[..., :1]), true[..., :-1]], axis=-1)
    steps = np.diff(false, axis=-1, prepend=0)
    return (steps * (true + below)).sum(axis=-1) / (2 * true[..., -1] * false[..., -1])


def _pr_area(true: Scores, predicted: Scores) -> Scores:
    """Average precision: mean of the precision at each threshold, weighted by the increase in recall."""
    return (precision(true, predicted) * np.diff(true, axis=-1, prepend=0)).sum(axis=-1) / true[..., -1]


def precision(true: Scores, predicted: Scores) -> Scores:
    """Share of the positive predictions that are right; 0 if there are none."""
    return np.divide(true, predicted, out=np.zeros_like(true), where=predicted > 0)


def _sensitivity(true: Scores, false: Scores, specificity: float) -> Scores:
    """The largest sensitivity at a threshold with at least the given specificity."""
    # Weights that are not integers are rounded: allow for it.
    allowed = (1 - specificity) * false[..., -1:] + 1e-9
    return np.where(false <= allowed, true, 0.0).max(axis=-1) / true[..., -1]
