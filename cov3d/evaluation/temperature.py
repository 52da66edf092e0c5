"""Temperature scaling (Guo et al. 2017): one number that makes probabilities softer or sharper.

A prediction is the mean of two softmaxes, of a scan and of its reflection. The logarithms of this mean are used as
logits: p to the power of 1 / T, divided by the sum over the categories. So the same formula is fitted on a prediction
table and applied to new scans. Dividing the network's outputs by T before averaging would be similar, but can't be
fitted on a table.

The most probable severity does not change with T. The predicted presence may change: p_0 is compared with 0.5, and the
sum of the four positive categories may pass it while each of them is smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.errors import PredictionsError
from cov3d.evaluation.predictions import probability_columns
from cov3d.labels import label_index

LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of a fitted temperature."""

_LEAST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: divisor of the logarithms of probabilities. Above 1: the network was overconfident.
        before: mean negative log-likelihood of the labels at temperature 1, in nats.
        after: mean negative log-likelihood at `value`.
        scans: number of scans that it was fitted on.
        at_bound: whether a value beyond the bounds would fit better, for example if every scan is right.
        wrong: number of scans whose most probable category is wrong. For unknown severity any positive one is right.
    """

    value: float
    before: float
    after: float
    scans: int
    at_bound: bool
    wrong: int = 0

    @property
    def why_at_bound(self) -> str:
        """Why the best temperature is at a bound; empty if it is not."""
        if not self.at_bound:
            return ""
        count = f"{self.wrong} of {self.scans} predictions are wrong"
        if self.value > 1:
            return f"{count}, and the probabilities fit the labels no better than equal probabilities"
        return f"{count}, too few to fit a temperature"


def scale(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities (scans, categories) at a temperature."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def negative_log_likelihood(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean of −log p of each scan's category, or of being positive if its severity is unknown.

    Args:
        probabilities: shape (scans, categories).
        labels: label indices; an index equal to the number of categories is unknown severity, −log(1 − p_0).
    """
    unknown = labels == probabilities.shape[1]
    of_category = probabilities[np.arange(len(labels)), np.where(unknown, 0, labels)]
    # The sum of the positive categories is more exact than 1 − p_0.
    known = np.where(unknown, probabilities[:, 1:].sum(axis=1), of_category)
    return float(-np.log(np.maximum(known, _LEAST)).mean())


def fit_temperature(table: pd.DataFrame, categories: Sequence[str]) -> Temperature:
    """The temperature with the highest likelihood of the labels of a prediction table.

    It holds for other scans only if the networks were not trained on the table's scans. To evaluate it, fit it on other
    scans, as `crossval` does.

    Args:
        table: predictions at temperature 1, with the column `label`; scans without a label are left out.
        categories: names of the outputs.

    Raises:
        PredictionsError: no scan has a label.
    """
    from scipy.optimize import minimize_scalar

    table = table[table["label"] != ""]
    if table.empty:
        raise PredictionsError("no scan has a label: a temperature can't be fitted")
    labels = np.array([label_index(label, categories) for label in table["label"]], dtype=np.int64)
    probabilities = table[probability_columns(categories)].to_numpy(dtype=np.float64)

    def loss(logarithm: float) -> float:
        return negative_log_likelihood(scale(probabilities, float(np.exp(logarithm))), labels)

    bounds = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    ends = [(loss(end), end) for end in bounds]
    after, logarithm = min([(float(found.fun), float(found.x)), *ends])
    at_bound = bool(np.abs(logarithm - bounds).min() < 1e-3)
    most_probable = probabilities.argmax(axis=1)
    wrong = int(np.where(labels == len(categories), most_probable == 0, most_probable != labels).sum())
    return Temperature(float(np.exp(logarithm)), loss(0.0), after, len(table), at_bound, wrong)
