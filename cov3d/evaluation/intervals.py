"""95 % intervals of scores: the BCa bootstrap, stratified by class, or a posterior interval where it has no result.

A score is a function of the weights of the scans. Weights of 1 give the score itself; the number of times that each
scan was drawn gives the score of a resample. Scans are drawn within each class, so the shares of the classes do not
change. `scipy.stats.bootstrap` gets one sample for each class. Its acceleration is that for several samples: the
jackknife leaves out each scan of each class in turn (Efron and Tibshirani 1993, section 15.4).

BCa has no result if all resamples score the same (every scan is right, or none of a class), if all scores of resamples
lie on one side of the score, or if a class has one scan. Then the interval is a *posterior* interval: the weights of
each class's scans and pseudo-scans (`TaskPredictions`) are drawn from a Dirichlet distribution, with Jeffreys' prior on
the pseudo-scans. The interval reaches from the 2.5 % to the 97.5 % quantile of the scores, and always includes the
score itself. For a single class this is the Jeffreys interval of a proportion. Two alternatives were rejected: [1, 1]
claims certainty from five right scans out of five, and so does the percentile bootstrap.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95

_BATCH = 500
"""Sets of weights at a time. With a few hundred scans they fit a processor's cache."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights of shape (…, scans) → scores of shape (scores, …)."""


class Method(StrEnum):
    """How an interval was computed."""

    BCA = "BCa"
    POSTERIOR = "posterior"


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a score.

    Attributes:
        low: lower end.
        high: upper end.
        method: `BCa`, or `posterior` if BCa has no result.
    """

    low: float
    high: float
    method: Method

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def intervals(
    statistic: Statistic,
    strata: NDArray[np.int64],
    prior: NDArray[np.float64],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """The intervals of several scores of the same scans, from the same resamples.

    Args:
        statistic: computes the scores for many sets of weights; see `Statistic`.
        strata: the class of each row, shape (rows,).
        prior: 0 for a scan, else the weight of a pseudo-scan, shape (rows,).
        seed: random seed of the resamples.
        resamples: number of resamples.
    """
    scores = statistic(np.where(prior > 0, 0.0, 1.0))
    low, high = _bca(statistic, strata, prior, resamples, seed)
    # If all resamples score the same, SciPy returns a single value or NaN.
    none = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
    method = np.where(none, Method.POSTERIOR, Method.BCA)
    if none.any():
        least, most = _posterior(statistic, strata, prior, resamples, seed)
        low = np.where(none, np.minimum(least, scores), low)
        high = np.where(none, np.maximum(most, scores), high)
    return [Interval(float(a), float(b), Method(c)) for a, b, c in zip(low, high, method, strict=True)]


def _bca(
    statistic: Statistic, strata: NDArray[np.int64], prior: NDArray[np.float64], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the BCa intervals; NaN if there is none."""
    from scipy.stats import DegenerateDataWarning, bootstrap

    rows = len(strata)
    samples = [np.flatnonzero((strata == stratum) & (prior == 0)) for stratum in np.unique(strata)]
    if min(map(len, samples)) < 2:
        nothing = np.full(len(statistic(np.ones(rows))), np.nan)
        return nothing, nothing

    def of_drawn(*drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return statistic(_times_drawn(drawn, rows))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            samples,
            of_drawn,
            n_resamples=resamples,
            batch=_BATCH,
            vectorized=True,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    return found.confidence_interval.low, found.confidence_interval.high


def _times_drawn(drawn: tuple[NDArray[np.int64], ...], rows: int) -> NDArray[np.float64]:
    """Number of times each row was drawn, shape (…, rows), from row numbers of shape (…, draws) for each class."""
    places = np.concatenate(drawn, axis=-1)
    sets = places.reshape(-1, places.shape[-1])
    numbered = sets + rows * np.arange(len(sets))[:, None]
    times = np.bincount(numbered.ravel(), minlength=rows * len(sets))
    return times.reshape(*places.shape[:-1], rows).astype(np.float64)


def _posterior(
    statistic: Statistic, strata: NDArray[np.int64], prior: NDArray[np.float64], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the posterior intervals."""
    rng = np.random.default_rng(seed)
    concentration = np.where(prior > 0, prior, 1.0)
    scores = []
    for done in range(0, resamples, _BATCH):
        # Gamma variates divided by their sum within each class have a Dirichlet distribution.
        weights = rng.standard_gamma(concentration, (min(_BATCH, resamples - done), len(strata)))
        for stratum in np.unique(strata):
            of_class = strata == stratum
            scans = np.count_nonzero(prior[of_class] == 0)
            weights[:, of_class] *= scans / weights[:, of_class].sum(axis=1, keepdims=True)
        scores.append(statistic(weights))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(scores, axis=-1), [tail, 1 - tail], axis=-1)
    return low, high


def proportion(share: float, scans: int) -> tuple[float, float]:
    """The 95 % interval of a share of scans, by Wilson's method."""
    from scipy.stats import binomtest

    found = binomtest(round(share * scans), scans).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
