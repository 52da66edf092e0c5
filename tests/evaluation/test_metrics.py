"""Calls and scores against scikit-learn and values by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from cov3d.evaluation.metrics import (
    conditional_severity,
    predict_presence,
    predict_severity,
    score_presence,
    score_severity,
)
from cov3d.evaluation.predictions import prediction_table, score_table
from cov3d.labels import CATEGORIES


def random_probabilities(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(5), count)


def test_presence_is_predicted_positive_below_one_half_only() -> None:
    p = np.array([[0.5, 0.5, 0, 0, 0], [0.4999, 0.5001, 0, 0, 0], [0.51, 0.49, 0, 0, 0]])
    assert predict_presence(p).tolist() == [0, 1, 0]


def test_many_small_severities_add_up_to_a_positive_call() -> None:
    assert predict_presence(np.array([[0.4, 0.15, 0.15, 0.15, 0.15]])).tolist() == [1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_severity_is_the_likeliest_of_the_four_conditional_or_not(seed: int) -> None:
    p = random_probabilities(20, seed)
    conditional = conditional_severity(p)
    assert conditional.sum(axis=1) == pytest.approx(1)
    assert conditional == pytest.approx(p[:, 1:] / (1 - p[:, :1]))
    assert predict_severity(conditional).tolist() == p[:, 1:].argmax(axis=1).tolist()


def test_a_scan_that_is_surely_negative_has_an_even_conditional_severity() -> None:
    assert conditional_severity(np.array([[1.0, 0, 0, 0, 0]])).tolist() == [[0.25] * 4]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=40))
def test_presence_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, called = (np.array(column) for column in zip(*pairs, strict=True))
    score = score_presence(labels, called)
    wanted = f1_score(labels > 0, called, average="macro", labels=[0, 1], zero_division=0)
    assert score.macro_f1 == pytest.approx(wanted)
    assert score.scans == len(pairs)
    assert score.confusion.sum() == len(pairs)


def test_severity_counts_scans_with_a_severity_only_and_always_four_classes() -> None:
    # Mild: 2 of 2 right. Severe: 1 right, 1 called mild. Critical and moderate do not occur; negative and unknown
    # scans do not count. F1: mild 4/5, moderate 0, severe 2/3, critical 0.
    labels = np.array([1, 1, 3, 3, 0, 5])
    called = np.array([0, 0, 2, 0, 3, 1])
    score = score_severity(labels, called, CATEGORIES)
    assert score.scans == 4
    assert score.f1 == pytest.approx((0.8, 0, 2 / 3, 0))
    assert score.macro_f1 == pytest.approx((0.8 + 2 / 3) / 4)
    assert score.confusion.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_nothing_to_score_is_none_and_not_zero() -> None:
    score = score_severity(np.array([0, 5]), np.array([0, 0]), CATEGORIES)
    assert score.macro_f1 is None
    assert score.scans == 0


def test_a_prediction_table_has_the_contracts_columns_and_scores_as_its_calls_do() -> None:
    p = np.array([[0.7, 0.1, 0.1, 0.05, 0.05], [0.2, 0.1, 0.5, 0.1, 0.1], [0.1, 0.1, 0.2, 0.1, 0.5]])
    table = prediction_table(["a", "b", "c"], p, CATEGORIES, labels=["non-covid", "moderate", "severe"])
    assert list(table.columns) == [
        *("scan", "p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical"),
        *("presence", "severity", "label"),
    ]
    assert table["presence"].tolist() == ["non-covid", "covid", "covid"]
    assert table["severity"].tolist() == ["mild", "moderate", "critical"]
    presence, severity = score_table(table, CATEGORIES)
    assert presence.macro_f1 == 1
    assert severity.f1 == (0, 1, 0, 0)
