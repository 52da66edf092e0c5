"""Temperature scaling (Guo et al. 2017): one number that makes probabilities as sure as they are right.

What a network is used for is the mean of two softmaxes, of a scan and of its reflection. The logarithms of that mean
take the place of logits: p to the power of 1 / T, divided by the sum over the categories. So what is fitted on a
prediction table is exactly what is applied to a new scan; dividing the two networks' outputs by T and then averaging
would be close, but not the same, and can't be fitted on a table.

The likeliest grade stays what it was, for any T. The call of presence may change: p_0 is compared with one half, and
the four positive categories may outweigh it together while each is smaller.
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
"""The bounds that a temperature is looked for in."""

_LEAST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: what the logarithms of probabilities are divided by; over 1, the network was too sure.
        before: mean negative log-likelihood of the labels at temperature 1, in nats.
        after: the same at `value`.
        scans: number of scans that it was fitted on.
        at_bound: whether a still lower or higher one would be better, as where every scan is right.
        wrong: number of scans whose likeliest category is not the label's; any positive is right for unknown severity.
    """

    value: float
    before: float
    after: float
    scans: int
    at_bound: bool
    wrong: int = 0

    @property
    def why_at_bound(self) -> str:
        """Why none fits better than the end of the range; empty where one does."""
        if not self.at_bound:
            return ""
        count = f"{self.wrong} of {self.scans} predictions are wrong"
        if self.value > 1:
            return f"{count}, and they fit the labels no better than equal probabilities would"
        return f"{count}, too few to fit one: the surer the network, the better"


def scale(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities (scans, categories) at a temperature."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def negative_log_likelihood(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean of −log p of what is known of each scan: its category or, of unknown severity, that it is positive.

    Args:
        probabilities: shape (scans, categories).
        labels: label indices; the number of categories stands for unknown severity, −log(1 − p_0).
    """
    unknown = labels == probabilities.shape[1]
    of_category = probabilities[np.arange(len(labels)), np.where(unknown, 0, labels)]
    # The sum of the positive categories keeps its digits where 1 − p_0 loses them.
    known = np.where(unknown, probabilities[:, 1:].sum(axis=1), of_category)
    return float(-np.log(np.maximum(known, _LEAST)).mean())


def fit_temperature(table: pd.DataFrame, categories: Sequence[str]) -> Temperature:
    """The temperature at which a labelled prediction table's labels are likeliest.

    It is of use for other scans only if the table's scans were not trained on and no epoch was chosen on them, or, as
    in cross-validation, if what it was fitted on is not what it is judged on.

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
    likeliest = probabilities.argmax(axis=1)
    wrong = int(np.where(labels == len(categories), likeliest == 0, likeliest != labels).sum())
    return Temperature(float(np.exp(logarithm)), loss(0.0), after, len(table), at_bound, wrong)
