"""Scores against scikit-learn and values by hand, of all scans and of any weighting of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from cov3d.evaluation.confusion import weighted_kappa
from cov3d.evaluation.measures import (
    CALIBRATION_ERROR,
    CATEGORY_ERROR,
    F1,
    KAPPA,
    MACRO_F1,
    PR_AREA,
    ROC_AREA,
    SENSITIVITY,
    Measures,
    Name,
    calibration_error,
    confidence,
)
from cov3d.evaluation.scores import evaluate, save_scores
from cov3d.evaluation.task_predictions import task_predictions
from cov3d.labels import CATEGORIES, SEVERITIES, STOIC_CATEGORIES
from cov3d.reports import score_figures
from tests.reports.predictions import VALIDATION, certain, predictions

QUICK = {"resamples": 50}


@pytest.mark.parametrize("task", ["presence", "severity"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), skill=st.floats(0, 4))
def test_scores_of_a_weighting_are_scikit_learns_with_sample_weight(task: str, seed: int, skill: float) -> None:
    calls = task_predictions(predictions(seed=seed, skill=skill), CATEGORIES)[task]
    weights = np.random.default_rng(seed).integers(0, 4, len(calls)).astype(float)
    weights[[np.flatnonzero(calls.true == c)[0] for c in range(len(calls.classes))]] = 1.0
    measures = Measures(calls, calls, 0.9)
    found = dict(zip(measures.names, measures(weights), strict=True))
    index = range(len(calls.classes))
    f1 = metrics.f1_score(
        calls.true, calls.predicted, labels=index, average=None, sample_weight=weights, zero_division=0.0
    )
    assert found[Name(MACRO_F1)] == pytest.approx(f1.mean())
    for c, name in enumerate(calls.classes):
        assert found[Name(F1, name)] == pytest.approx(f1[c])
        if Name(ROC_AREA, name) in found:
            of_class, probability = calls.true == c, calls.probabilities[:, c]
            area = metrics.roc_auc_score(of_class, probability, sample_weight=weights)
            assert found[Name(ROC_AREA, name)] == pytest.approx(area)
            area = metrics.average_precision_score(of_class, probability, sample_weight=weights)
            assert found[Name(PR_AREA, name)] == pytest.approx(area)
    if task == "severity":
        kappa = metrics.cohen_kappa_score(
            calls.true, calls.predicted, labels=index, weights="quadratic", sample_weight=weights
        )
        assert found[Name(KAPPA)] == pytest.approx(kappa)
        error = metrics.mean_absolute_error(calls.true, calls.predicted, sample_weight=weights)
        assert found[Name(CATEGORY_ERROR)] == pytest.approx(error)
    else:
        false, true, _ = metrics.roc_curve(calls.true, calls.probabilities[:, 1], sample_weight=weights)
        assert found[Name(SENSITIVITY, "covid")] == pytest.approx(true[false <= 0.1 + 1e-9].max(), abs=1e-9)


@pytest.mark.parametrize("categories", [CATEGORIES, STOIC_CATEGORIES])
def test_the_scores_printed_are_those_that_are_resampled(categories: tuple[str, ...]) -> None:
    counts = VALIDATION if categories == CATEGORIES else {"non-covid": 9, "covid-not-severe": 12, "covid-severe": 8}
    for calls, evaluation in zip(
        task_predictions(predictions(counts, categories=categories), categories).values(),
        evaluate(predictions(counts, categories=categories), categories, resamples=50).values(),
        strict=True,
    ):
        measures = Measures(calls, calls, 0.95)
        resampled = dict(zip(measures.names, measures(np.ones(len(calls))), strict=True))
        assert {
            Name(s.name.removesuffix(" 0.95"), s.of_class): pytest.approx(s.value) for s in evaluation.scores
        } == resampled
        assert all(s.interval and s.interval.low <= s.interval.high for s in evaluation.scores)


def test_ordinal_errors_by_hand() -> None:
    # Distances 0, 1, 2, 0: mean 3/4. Truth 0 0 2 3, called 0 1 0 3. Squared error 0 + 1 + 4 + 0 = 5; by chance, over
    # the 16 pairs of a truth and a call: from 0 (twice) 0+1+0+9, from 2 4+1+4+1, from 3 9+4+9+0, in all 52, of 16.
    calls = certain([0, 0, 2, 3], [0, 1, 0, 3])
    found = dict(zip(*(lambda m: (m.names, m(np.ones(4))))(Measures(calls, calls, 0.9)), strict=True))
    assert found[Name(CATEGORY_ERROR)] == 0.75
    assert found[Name(KAPPA)] == pytest.approx(1 - (5 / 4) / (52 / 16))
    assert weighted_kappa(np.full((4, 4), 2.0)) == pytest.approx(0)


def test_calibration_error_by_hand() -> None:
    # Bin 0.2 to 0.3: probabilities 0.25 and 0.25, one came true, gap 0.25. Bin 0.8 to 0.9: 0.85, came true, gap 0.15.
    p, came_true = np.array([0.25, 0.25, 0.85]), np.array([True, False, True])
    assert calibration_error(p, came_true, np.ones(3)) == pytest.approx((2 * 0.25 + 1 * 0.15) / 3)


def test_presence_is_calibrated_by_its_probability_and_severity_by_that_of_the_call() -> None:
    found = task_predictions(predictions(), CATEGORIES)
    p, came_true = confidence(found["presence"])
    assert p.tolist() == (1 - predictions()["p_non_covid"].astype(float)).tolist()
    assert came_true.sum() == 31 + 20 + 45 + 5 + 24
    p, came_true = confidence(found["severity"])
    assert p.tolist() == found["severity"].probabilities.max(axis=1).tolist()
    assert came_true.tolist() == (found["severity"].true == found["severity"].predicted).tolist()


def test_the_reliability_diagram_is_scikit_learns_and_counts_every_scan() -> None:
    table = predictions()
    bins = evaluate(table, CATEGORIES, resamples=20)["presence"].reliability
    share, mean = calibration_curve(table["label"] != "non-covid", 1 - table["p_non_covid"].astype(float), n_bins=10)
    assert bins is not None
    assert bins.came_true.tolist() == pytest.approx(share)
    assert bins.probability.tolist() == pytest.approx(mean)
    assert bins.scans.sum() == len(table)
    error = (np.abs(share - mean) * bins.scans).sum() / len(table)
    assert evaluate(table, CATEGORIES, resamples=20)["presence"].score(CALIBRATION_ERROR).value == pytest.approx(error)


@pytest.mark.parametrize("task", ["presence", "severity"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), digits=st.integers(1, 4))
def test_curves_are_scikit_learns_with_ties_too(task: str, seed: int, digits: int) -> None:
    table = predictions(seed=seed)
    columns = [name for name in table.columns if name.startswith("p_")]
    table[columns] = table[columns].astype(float).round(digits)
    found = evaluate(table, CATEGORIES, resamples=2)[task]
    for name, curve in found.roc.items():
        c = found.predictions.classes.index(name)
        of_class, probability = found.predictions.true == c, found.predictions.probabilities[:, c]
        false, true, _ = metrics.roc_curve(of_class, probability, drop_intermediate=False)
        assert curve.x == pytest.approx(false)
        assert curve.y == pytest.approx(true)
        precision, recall, _ = metrics.precision_recall_curve(of_class, probability)
        assert found.pr[name].x == pytest.approx(recall[::-1])
        assert found.pr[name].y == pytest.approx(precision[::-1])


def test_a_score_is_defined_once_and_not_by_scikit_learn() -> None:
    """Loading scikit-learn takes seconds, and a second definition can differ."""
    code = (
        "import sys, numpy as np; from cov3d.evaluation.scores import evaluate;"
        "from tests.reports.predictions import predictions; from cov3d.labels import CATEGORIES;"
        "found = evaluate(predictions(), CATEGORIES, resamples=2)['severity'];"
        "print(len(found.scores), 'sklearn' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, loaded = ended.stdout.split()
    assert (int(count) > 10, loaded) == (True, "False"), ended.stdout


def test_severity_uses_exactly_the_scans_with_a_severity_and_four_classes() -> None:
    table = predictions()
    severity = evaluate(table, CATEGORIES, resamples=20)["severity"]
    with_severity = table[table["label"].isin(SEVERITIES)]
    assert severity.predictions.scans == tuple(with_severity["scan"])
    assert severity.predictions.classes == SEVERITIES
    f1 = metrics.f1_score(with_severity["label"], with_severity["severity"], labels=SEVERITIES, average="macro")
    assert severity.score(MACRO_F1).value == pytest.approx(f1)
    assert severity.notes[0].startswith("few scans (5 critical): with fewer than 10 of a class")


def test_a_fold_without_a_class_says_what_that_does_to_the_mean() -> None:
    counts = {"non-covid": 4, "mild": 12, "severe": 11, "covid": 3}
    severity = evaluate(predictions(counts, skill=9.0), CATEGORIES, resamples=50)["severity"]
    assert severity.score(F1, "mild").value == severity.score(F1, "severe").value == 1
    assert severity.score(MACRO_F1).value == 0.5
    assert severity.score(MACRO_F1).interval.high == 0.5
    assert (severity.score(F1, "critical").value, severity.score(F1, "critical").interval) == (0, None)
    assert severity.notes == (
        "no scan is moderate or critical: their F1 counts as 0 in the mean over the 4 classes, so macro F1 is at most "
        "0.500",
    )
    one = evaluate(predictions({"mild": 12, "covid": 3}), CATEGORIES, resamples=50)
    assert one["presence"].notes[0] == "every scan was predicted COVID-19"
    assert "so macro F1 is at most 0.500" in one["presence"].notes[1]
    assert one["presence"].roc == one["severity"].roc == {}
    assert one["severity"].score(KAPPA) is None
    assert len(score_figures.curves(one).axes) == 4


def test_without_scans_with_a_severity_there_is_no_score_and_it_is_reported(tmp_path: Path) -> None:
    table = predictions({"non-covid": 12, "covid": 12})
    found = evaluate(pd.concat([table, table.assign(label="", scan="x")]), CATEGORIES, resamples=50)
    assert found["presence"].result.scans == 24
    assert found["severity"].result.macro_f1 is None
    assert found["severity"].scores == ()
    assert found["severity"].notes == ("no scan has a label for this task: there is no score",)
    assert score_figures.reliability(found).axes[1].get_title() == "severity: no scan could be scored"
    save_scores(found, tmp_path, {"fold": 1})
    reported = json.loads((tmp_path / "scores.json").read_text())
    assert (reported["fold"], reported["severity"]["macro_f1"], reported["severity"]["scores"]) == (1, None, [])


def test_what_is_saved_is_what_was_found(tmp_path: Path) -> None:
    found = evaluate(predictions(), CATEGORIES, seed=3, resamples=50)
    save_scores(found, tmp_path, {"seed": 3})
    rows = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    assert list(rows.columns) == ["task", "score", "class", "value", "low", "high", "method", "scans"]
    scores = [score for evaluation in found.values() for score in evaluation.scores]
    assert rows["value"].tolist() == [score.value for score in scores]
    assert rows["low"].astype(float).tolist() == [score.interval.low for score in scores]
    reported = json.loads((tmp_path / "scores.json").read_text())
    assert reported["presence"]["macro_f1"] == found["presence"].result.macro_f1
    assert reported["severity"]["scores"][0]["high"] == found["severity"].scores[0].interval.high
    again = evaluate(predictions(), CATEGORIES, seed=3, resamples=50)
    assert again["severity"].scores == found["severity"].scores
    assert evaluate(predictions(), CATEGORIES, seed=4, resamples=50)["severity"].scores != found["severity"].scores


def test_curves_end_where_they_must_and_name_their_areas() -> None:
    found = evaluate(predictions(), CATEGORIES, resamples=50)
    for evaluation in found.values():
        for curve in evaluation.roc.values():
            assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
            assert metrics.auc(curve.x, curve.y) == pytest.approx(curve.area.value)
        for curve in evaluation.pr.values():
            assert (curve.x[0], curve.x[-1]) == (0, 1)
    roc, pr, *severity = score_figures.curves(found).axes
    area = found["presence"].score(ROC_AREA, "covid")
    reported = f"covid, area {area.value:.3f} ({area.interval.low:.3f}–{area.interval.high:.3f})"
    assert [text.get_text() for text in roc.get_legend().get_texts()] == [reported]
    assert (roc.get_xlabel(), pr.get_ylabel()) == ("1 − specificity", "precision")
    assert len(severity[0].get_legend().get_texts()) == 4
