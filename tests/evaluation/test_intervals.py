"""Intervals: SciPy's BCa on one sample a class, an answer where it has none, and how often they hold the truth."""

import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from cov3d.evaluation.confusion import f1_scores
from cov3d.evaluation.intervals import Interval, Method, intervals, proportion
from cov3d.evaluation.predictions import prediction_table
from cov3d.evaluation.scores import evaluate
from cov3d.evaluation.task_predictions import TaskPredictions
from cov3d.labels import CATEGORIES
from tests.reports.predictions import certain


def of_f1(calls: TaskPredictions, seed: int = 0, resamples: int = 2000) -> list[Interval]:
    """Of macro F1 and the F1 of each class."""
    rows, prior = calls.with_pseudo_scans()
    statistic = partial(f1_scores, rows.true, rows.predicted, len(calls.classes))
    return intervals(statistic, rows.true, prior, seed=seed, resamples=resamples)


def drawn(sizes: tuple[int, ...], accuracy: float = 0.7, seed: int = 0) -> TaskPredictions:
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(len(sizes)), sizes)
    other = (true + rng.integers(1, len(sizes), len(true))) % len(sizes)
    names = tuple(map(str, range(len(sizes))))
    return certain(true.tolist(), np.where(rng.random(len(true)) < accuracy, true, other).tolist(), names)


@pytest.mark.parametrize("sizes", [(31, 20, 45, 5), (40, 25)])
def test_the_interval_is_scipys_of_scikit_learns_macro_f1_with_a_sample_a_class(sizes: tuple[int, ...]) -> None:
    calls = drawn(sizes)
    labels = list(range(len(sizes)))

    def macro_f1(*called: Any) -> float:
        true = np.repeat(labels, [len(one) for one in called])
        return float(f1_score(true, np.concatenate(called), labels=labels, average="macro", zero_division=0.0))

    samples = [calls.predicted[calls.true == c] for c in labels]
    wanted = stats.bootstrap(
        samples, macro_f1, n_resamples=300, batch=500, vectorized=False, rng=np.random.default_rng(7)
    ).confidence_interval
    found = of_f1(calls, seed=7, resamples=300)[0]
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert found.method == Method.BCA


def test_the_seed_decides_and_the_order_of_magnitude_does_not_depend_on_it() -> None:
    calls = drawn((31, 20, 45, 5))
    assert of_f1(calls) == of_f1(calls)
    one, other = of_f1(calls)[0], of_f1(calls, seed=1)[0]
    assert one != other
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.03)


@pytest.mark.parametrize("sizes", [(31, 20, 45, 5), (150, 150)])
def test_where_every_scan_is_right_the_lower_end_says_how_much_was_seen(sizes: tuple[int, ...]) -> None:
    found = of_f1(drawn(sizes, accuracy=1.0))
    assert all((one.high, one.method) == (1.0, Method.POSTERIOR) for one in found)
    for size, one in zip(sizes, found[1:], strict=True):
        # About Jeffreys' bound of a share of which all was seen; errors of other classes take a little more away.
        recall = stats.beta(size + 0.5, 0.5 * (len(sizes) - 1)).ppf(0.025)
        assert one.low < 2 * recall / (1 + recall)
        assert one.low > recall - 0.1
    assert found[0].low < 1


def test_where_positives_all_rank_first_the_sensitivity_is_a_proportion_of_which_all_was_seen() -> None:
    probabilities = np.concatenate([np.linspace(0.1, 0.4, 40), np.linspace(0.6, 0.9, 20)])
    table = prediction_table(
        [f"scan {n}" for n in range(60)],
        np.stack([1 - probabilities, probabilities, *np.zeros((3, 60))], axis=1),
        CATEGORIES,
        labels=["non-covid"] * 40 + ["mild"] * 20,
    )
    found = evaluate(table, CATEGORIES)["presence"].score("sensitivity at specificity 0.95", "covid")
    assert found is not None
    assert found.interval is not None
    assert (found.value, found.interval.high, found.interval.method) == (1.0, 1.0, Method.POSTERIOR)
    assert found.interval.low == pytest.approx(stats.beta(20.5, 0.5).ppf(0.025), abs=0.02)


def test_a_class_never_predicted_right_has_an_upper_end_above_nought() -> None:
    calls = certain([0] * 30 + [3] * 5, [0] * 25 + [2] * 5 + [2] * 5)
    found = of_f1(calls)[4]
    assert (found.low, found.method) == (0.0, Method.POSTERIOR)
    assert 0.2 < found.high < 0.8
    assert of_f1(calls)[1].method == Method.BCA


@pytest.mark.parametrize("sizes", [(3, 4), (4, 4), (40, 30)])
def test_a_network_that_calls_every_scan_alike_is_not_certain_to(sizes: tuple[int, int]) -> None:
    true = [0] * sizes[0] + [1] * sizes[1]
    for one in of_f1(certain(true, [1] * sum(sizes), ("non-covid", "covid"))):
        assert one.low < one.high
        assert one.method == Method.POSTERIOR


def test_a_class_of_one_scan_has_an_answer() -> None:
    for called in (0, 3):
        found = of_f1(certain([0] * 20 + [3], [0] * 15 + [1] * 5 + [called]))
        assert all(one.method == Method.POSTERIOR for one in found)
        assert found[0].low < found[0].high
        assert found[4].low < 0.2
        assert found[4].high > 0.6


def test_a_single_scan_and_a_single_class_have_an_answer() -> None:
    for calls in (certain([1], [1]), certain([1, 1, 1], [1, 1, 1]), certain([1, 1, 1], [0, 2, 3])):
        for one in of_f1(calls, resamples=200):
            assert 0 <= one.low <= one.high <= 1


def test_pseudo_scans_are_jeffreys_prior_of_the_calls_of_each_class() -> None:
    calls = certain([0, 0, 2], [0, 1, 2], ("a", "b", "c"))
    rows, prior = calls.with_pseudo_scans()
    assert prior.tolist() == [0, 0, 0] + [0.5] * 6
    assert list(zip(rows.true[3:].tolist(), rows.predicted[3:].tolist(), strict=True)) == [
        *((0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2))
    ]
    assert rows.probabilities[3:].tolist() == np.eye(3)[[0, 1, 2, 0, 1, 2]].tolist()


def test_a_proportions_interval_is_wilsons() -> None:
    z = stats.norm.ppf(0.975)
    centre, half = (0.7 + z * z / 20) / (1 + z * z / 10), z * np.sqrt(0.021 + z * z / 400) / (1 + z * z / 10)
    assert proportion(0.7, 10) == pytest.approx((centre - half, centre + half))


@pytest.fixture(scope="module")
def coverage() -> Callable[..., Any]:
    """The study that benchmarks/coverage.py prints."""
    found = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "coverage.py"))["coverage"]
    return found  # type: ignore[no-any-return]


def test_the_interval_of_macro_f1_holds_the_truth_about_as_often_as_it_says(coverage: Callable[..., Any]) -> None:
    found = coverage((31, 20, 45, 5), sets=200, resamples=1000, seed=0)
    # Of 200 sets, a share that is 95 % in truth lies within 4.6 % of it 997 times in 1,000.
    assert found.held[0] == pytest.approx(0.95, abs=0.046)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(31, 20, 45, 5), (150, 150)])
def test_the_interval_of_macro_f1_holds_the_truth_in_2000_sets(
    coverage: Callable[..., Any], sizes: tuple[int, ...]
) -> None:
    found = coverage(sizes, sets=2000, resamples=2000, seed=0)
    print(f"classes of {sizes}: macro F1 {found.held[0]:.1%}, classes {found.held[1:]}")
    assert 0.925 <= found.held[0] <= 0.97
