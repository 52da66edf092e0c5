"""Two models on the same scans: what is compared, and what is refused."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from cov3d.errors import PredictionsError
from cov3d.evaluation.comparison import Comparison, compare, compare_runs
from cov3d.evaluation.intervals import Method
from cov3d.evaluation.predictions import (
    load_predictions,
    prediction_table,
    probability_columns,
    save_predictions,
    severity_columns,
)
from cov3d.evaluation.summary import Selection
from cov3d.labels import CATEGORIES, SEVERITIES, STOIC_CATEGORIES
from cov3d.reports.tables import comparison_table
from tests.conftest import Ended
from tests.reports.predictions import predictions


def calls_table(true: list[str], called: list[str]) -> pd.DataFrame:
    """Positive scans, graded with certainty."""
    p = np.eye(5)[[CATEGORIES.index(name) for name in called]]
    return prediction_table([f"scan {n}" for n in range(len(true))], p, CATEGORIES, labels=true)


def macro(table: pd.DataFrame) -> float:
    with_severity = table[table["label"].isin(SEVERITIES)]
    return float(
        f1_score(
            with_severity["label"], with_severity["severity"], labels=SEVERITIES, average="macro", zero_division=0.0
        )
    )


def test_the_difference_is_that_of_the_scores_whatever_the_order_of_rows() -> None:
    a, b = predictions(seed=1), predictions(seed=2, skill=1.0)
    found = compare(a, b, CATEGORIES, "severity")
    assert (found.rows[0].a, found.rows[0].b) == pytest.approx((macro(a), macro(b)))
    assert found.rows[0].difference == pytest.approx(macro(a) - macro(b))
    assert compare(a, b.sample(frac=1, random_state=0), CATEGORIES, "severity").rows == found.rows
    turned = compare(b, a, CATEGORIES, "severity")
    assert turned.rows[0].difference == pytest.approx(-found.rows[0].difference)
    assert turned.rows[0].p == pytest.approx(found.rows[0].p, abs=0.02)
    assert [row.name for row in found.rows] == ["macro", *SEVERITIES]
    assert [row.scans for row in found.rows] == [101, 31, 20, 45, 5]


def test_the_interval_is_scipys_of_pairs_resampled_within_each_class() -> None:
    a, b = (t[t["label"].isin(SEVERITIES)] for t in (predictions(seed=1), predictions(seed=2, skill=1.0)))
    code = {name: number for number, name in enumerate(SEVERITIES)}
    true, of_a, of_b = (column.map(code).to_numpy() for column in (a["label"], a["severity"], b["severity"]))

    def apart(*pairs: np.ndarray) -> float:
        called, truth = np.concatenate(pairs), np.repeat(range(4), [len(one) for one in pairs])
        scores = [f1_score(truth, one, labels=range(4), average="macro") for one in (called // 4, called % 4)]
        return float(scores[0] - scores[1])

    samples = [(4 * of_a + of_b)[true == c] for c in range(4)]
    rng = np.random.default_rng(5)
    wanted = stats.bootstrap(samples, apart, n_resamples=300, batch=500, vectorized=False, rng=rng).confidence_interval
    found = compare(a, b, CATEGORIES, "severity", seed=5, resamples=300).rows[0].interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_the_p_value_counts_every_way_to_exchange_the_calls_that_differ() -> None:
    true = ["mild"] * 6 + ["severe"] * 6
    a = calls_table(true, ["mild"] * 6 + ["severe"] * 5 + ["mild"])
    b = calls_table(true, ["severe"] * 3 + ["mild"] * 3 + ["mild"] * 2 + ["severe"] * 4)
    found = compare(a, b, CATEGORIES, "severity")
    assert found.differing == 6
    differ = [n for n in range(12) if a["severity"][n] != b["severity"][n]]
    observed = macro(a) - macro(b)
    differences = []
    for ways in itertools.product([False, True], repeat=len(differ)):
        swapped = [n for n, swap in zip(differ, ways, strict=True) if swap]
        one, other = a.copy(), b.copy()
        one.loc[swapped, "severity"], other.loc[swapped, "severity"] = (
            b.loc[swapped, "severity"], a.loc[swapped, "severity"]
        )  # fmt: skip
        differences.append(macro(one) - macro(other))
    as_large = np.mean(np.array(differences) >= observed - 1e-12)
    assert found.rows[0].p == pytest.approx(2 * as_large)


def test_a_model_and_itself_do_not_differ_and_one_scan_proves_nothing() -> None:
    a = predictions()
    same = compare(a, a, CATEGORIES, "severity")
    assert same.differing == 0
    for row in same.rows:
        assert row.difference == 0
        assert row.interval is not None
        assert row.interval.low < 0 < row.interval.high
        assert row.interval.method == Method.POSTERIOR
    assert same.rows[0].p == 1
    true = ["mild", "mild", "severe", "severe"]
    assert (
        compare(calls_table(true, true), calls_table(true, ["severe", *true[1:]]), CATEGORIES, "severity").rows[0].p
        == 1
    )


def test_a_class_without_scans_has_no_interval() -> None:
    true = ["mild"] * 12 + ["severe"] * 12
    found = compare(calls_table(true, true), calls_table(true, true[::-1]), CATEGORIES, "severity")
    assert [row.interval is None for row in found.rows] == [False, False, True, False, True]


def test_models_that_do_not_differ_are_seldom_distinguished() -> None:
    p = []
    for seed in range(40):
        pair = (predictions({"mild": 15, "severe": 15}, seed=2 * seed + n, skill=1.0) for n in (0, 1))
        p.append(compare(*pair, CATEGORIES, "severity", resamples=20).rows[0].p)
    # Of 40 p-values, 2 are expected below 0.05 and more than 6 come once in 300 times.
    assert sum(one < 0.05 for one in p) <= 6
    assert 0.3 < np.mean(p) < 0.8


def refused(a: pd.DataFrame, b: pd.DataFrame, task: str = "presence") -> str:
    with pytest.raises(PredictionsError) as caught:
        compare(a, b, CATEGORIES, task, names=("a.csv", "b.csv"))
    return str(caught.value)


def test_a_scan_that_is_missing_or_labelled_otherwise_is_named() -> None:
    a = predictions()
    assert refused(a, a[a["scan"] != "scan 7"]).startswith("scan 7 is in a.csv but not in b.csv")
    assert refused(a[a["scan"] != "scan 7"], a).startswith("scan 7 is in b.csv but not in a.csv")
    assert refused(a, a.iloc[3:]).startswith("scan 0 (and 2 more) is in a.csv but not in b.csv")
    other = a.copy()
    other.loc[other["scan"] == "scan 70", "label"] = "critical"
    assert refused(a, other).startswith("scan 70 is mild in a.csv and critical in b.csv")
    other.loc[other["scan"] == "scan 70", "label"] = ""
    assert refused(a, other).startswith("scan 70 is mild in a.csv and without a label in b.csv")
    assert refused(a, a.drop(columns="label")).startswith("b.csv has no labels")
    ungraded = predictions({"non-covid": 3, "covid": 3})
    assert "no scan of a.csv has a label for severity: give --task presence" in refused(ungraded, ungraded, "severity")


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A run's folder and a table of another run."""
    for name, seed in (("run/validation-severity.csv", 1), ("run/validation-presence.csv", 2), ("other.csv", 3)):
        save_predictions(predictions(seed=seed), tmp_path / name)
    tasks = {
        task: {"best_epoch": 3, "best": {"macro_f1": 0.8}, "last": {"macro_f1": 0.625}}
        for task in ("presence", "severity")
    }
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"epochs": 9, "tasks": tasks}))
    return tmp_path / "run", tmp_path / "other.csv"


def test_a_run_is_compared_by_the_predictions_of_the_tasks_best_epoch(saved: tuple[Path, Path]) -> None:
    run, other = saved
    found = compare_runs(run, other, "severity")
    assert found.files == (str(run / "validation-severity.csv"), str(other))
    assert found.rows == compare(predictions(seed=1), predictions(seed=3), CATEGORIES, "severity").rows
    assert str(found.selections[0]) == "epoch 3 of 9, selected on this fold by severity macro F1"
    assert found.selections[1] is None


def test_a_cross_validation_is_compared_by_its_out_of_fold_predictions(tmp_path: Path) -> None:
    folders = []
    for seed in (1, 2):
        folders.append(tmp_path / str(seed))
        save_predictions(predictions(seed=seed).assign(fold=seed), folders[-1] / "out-of-fold-severity.csv")
    found = compare_runs(folders[0], folders[1], "severity")
    assert "A: for each fold, the epoch that was selected on it" in str(comparison_table(found, "").caption)
    assert found.rows == compare(predictions(seed=1), predictions(seed=2), CATEGORIES, "severity").rows


def test_compare_prints_and_writes_what_it_found(
    saved: tuple[Path, Path], tmp_path: Path, cov3d: Callable[..., Ended]
) -> None:
    run, other = saved
    ended = cov3d("compare", run, other, "--output-dir", tmp_path / "out", "--seed", 4)
    assert ended.code == 0, ended.err
    assert "selected on this fold" in ended.out
    assert "0.625" in ended.out
    assert "severity: fewer than 10 scans of a class (5 critical)" in ended.err
    reported = json.loads((tmp_path / "out" / "comparison.json").read_text())
    wanted: Comparison = compare_runs(run, other, "severity", seed=4)
    assert reported["seed"] == 4
    assert reported["severity"]["rows"][0]["p"] == wanted.rows[0].p
    rows = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert rows["task"].tolist() == ["presence"] * 3 + ["severity"] * 5
    assert rows["low"][3] == wanted.rows[0].interval.low
    assert cov3d("compare", run, other, "--output-dir", tmp_path / "out").code == 2
    again = cov3d("compare", run, other, "--task", "presence", "--output-dir", tmp_path / "out", "--overwrite")
    assert again.code == 0, again.err
    assert "severity" not in json.loads((tmp_path / "out" / "comparison.json").read_text())


def test_what_compare_can_not_read_is_one_sentence(
    saved: tuple[Path, Path], tmp_path: Path, cov3d: Callable[..., Ended]
) -> None:
    run, _ = saved
    (tmp_path / "empty").mkdir()
    (tmp_path / "scans.csv").write_text("scan,label\na,mild\n")
    save_predictions(predictions({"covid-severe": 12}, categories=STOIC_CATEGORIES), tmp_path / "stoic.csv")
    sentences = {
        tmp_path / "empty": "has no validation-presence.csv",
        tmp_path / "none.csv": "there is no prediction table at",
        tmp_path / "scans.csv": "is not a prediction table: it has the columns scan, label",
        tmp_path / "stoic.csv": "has the categories non-covid, mild",
    }
    for path, sentence in sentences.items():
        ended = cov3d("compare", run, path, "--output-dir", tmp_path / "out")
        assert ended.code == 2
        assert sentence in ended.err, ended.err
        assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


P, S = " ".join(probability_columns(CATEGORIES)), " ".join(severity_columns(CATEGORIES))


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("p_mild", "0.9", "line 3: the probabilities of scan 1 don't add up to 1"),
        ("p_mild", "nan", "line 3: the probabilities of scan 1 are not all numbers from 0 to 1"),
        ("p_mild", "much", "line 3: the probabilities of scan 1 are not all numbers from 0 to 1"),
        (P, "1.0005 0 0 0 0", "line 3: the probabilities of scan 1 are not all numbers from 0 to 1"),
        (S, "0.5 0.5 0.5 0.5", "line 3: the conditional probabilities of scan 1 don't add up to 1"),
        (S, "1 0 much 0", "line 3: the conditional probabilities of scan 1 are not all numbers from 0 to 1"),
        ("presence", "yes", "line 3: presence is 'yes', but must be one of non-covid, covid"),
        ("severity", "", "line 3: severity is '', but must be one of mild"),
        ("label", "Mild", "line 3: label is 'Mild', but must be one of non-covid"),
        ("scan", "scan 0", "names the scan scan 0 more than once"),
    ],
)
def test_a_prediction_table_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str, sentence: str
) -> None:
    file = tmp_path / "p.csv"
    table = predictions({"non-covid": 3}).astype(object)
    if column.startswith("severity_"):
        table[column.split()] = "0.25"
    words = value.split() if " " in column else [value]
    table.loc[1, column.split()] = words
    table.to_csv(file, index=False)
    with pytest.raises(PredictionsError) as caught:
        load_predictions(file)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("categories", [CATEGORIES, STOIC_CATEGORIES])
def test_a_prediction_table_comes_back(tmp_path: Path, categories: tuple[str, ...]) -> None:
    table = predictions({"non-covid": 3, "covid": 2}, categories=categories)
    save_predictions(table, tmp_path / "p.csv")
    found, of = load_predictions(tmp_path / "p.csv")
    assert of == categories
    assert found.columns.tolist() == table.columns.tolist()
    assert found["label"].tolist() == table["label"].tolist()
    assert (found.filter(like="p_").to_numpy(np.float32) == table.filter(like="p_").to_numpy()).all()


@pytest.mark.parametrize(
    ("epochs", "wanted"),
    [
        (40, "epoch 1 of 40, selected on this fold by presence macro F1"),
        (1, "epoch 1, the only epoch"),
        (None, "epoch 1, selected on this fold by presence macro F1"),
    ],
)
def test_how_an_epoch_was_chosen_in_words(epochs: int | None, wanted: str) -> None:
    assert str(Selection("presence", 1, epochs, {})) == wanted
