"""95 % intervals of scores: the bootstrap, BCa, stratified by class; and a stated answer where it has none.

A score is a function of the weights of the scans: 1 each gives the score itself, and how often each was drawn gives
that of a resample. Scans are drawn within each class, so that the shares of the classes stay: the interval is of the
score on other scans in the same shares. `scipy.stats.bootstrap` takes a sample a class; its acceleration is that of
several samples, the jackknife leaving out each scan of each class in turn (Efron and Tibshirani 1993, section 15.4).

BCa has no answer where no resample differs from the sample (every scan is right, or none of a class), where all
resamples lie on one side of it, or where a class has one scan. There the interval is that of the *posterior*: each
class's scans get weights of a Dirichlet distribution, Jeffreys' prior standing for what was not seen (`Calls`); its 2.5
and 97.5 % quantiles, made to reach the score itself where it is the best or worst there is. For a single class this is
the Jeffreys interval of a proportion. Rejected were [1, 1], which claims certainty of five scans out of five, and the
percentile bootstrap, which says the same.
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

# Rows of weights at once: with a few hundred scans they stay in a processor's cache.
_BATCH = 500

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights of shape (…, scans) → scores of shape (scores, …)."""


class Method(StrEnum):
    """How an interval was found."""

    BCA = "BCa"
    POSTERIOR = "posterior"


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a score.

    Attributes:
        low: its lower end.
        high: its upper end.
        method: `BCa`, or `posterior` where BCa has no answer.
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
    """The intervals of several scores of the same scans, by one set of resamples.

    Args:
        statistic: the scores of many weightings at once; see `Statistic`.
        strata: the class of each row, shape (rows,).
        prior: 0 where a row is a scan, else the weight of a pseudo-scan, shape (rows,).
        seed: of the resamples.
        resamples: how many.
    """
    scores = statistic(np.where(prior > 0, 0.0, 1.0))
    low, high = _bca(statistic, strata, prior, resamples, seed)
    # Where all resamples score the same, SciPy finds a point or nothing, as the jackknife has it.
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
    """The ends of the BCa intervals, NaN where there is none."""
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
    """How often each row was drawn, shape (…, rows); `drawn` has row numbers of shape (…, draws), an array a class."""
    places = np.concatenate(drawn, axis=-1)
    sets = places.reshape(-1, places.shape[-1])
    numbered = sets + rows * np.arange(len(sets))[:, None]
    times = np.bincount(numbered.ravel(), minlength=rows * len(sets))
    return times.reshape(*places.shape[:-1], rows).astype(np.float64)


def _posterior(
    statistic: Statistic, strata: NDArray[np.int64], prior: NDArray[np.float64], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the posterior's intervals."""
    rng = np.random.default_rng(seed)
    concentration = np.where(prior > 0, prior, 1.0)
    scores = []
    for done in range(0, resamples, _BATCH):
        # Gamma variates divided by their sum, class by class, are Dirichlet.
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
    """The 95 % interval of a share of some scans, by Wilson's method."""
    from scipy.stats import binomtest

    found = binomtest(round(share * scans), scans).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
