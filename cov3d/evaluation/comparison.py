"""Two models on the same scans → the difference of their F1, its interval and its p-value.

The interval resamples scans, each with the predictions of both models, within each class as `intervals` does. The
p-value is from a paired permutation test: if the models were equally good, the two predictions of a scan could be
exchanged. The test holds for macro F1, which is not a mean over scans, and for samples of any size; McNemar's test is
for accuracy. Exchanging equal predictions changes nothing, so only scans with different ones are exchanged. If these
are few, all exchanges are tried and the p-value is exact.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.errors import PredictionsError
from cov3d.evaluation.confusion import f1, f1_scores
from cov3d.evaluation.intervals import RESAMPLES, Interval, intervals
from cov3d.evaluation.predictions import load_predictions
from cov3d.evaluation.summary import Selection, selection_of_run
from cov3d.evaluation.task_predictions import TaskPredictions, task_predictions
from cov3d.files import write_text
from cov3d.run_files import PREDICTIONS, out_of_fold_table, validation_table

COMPARISON, COMPARISON_TABLE = "comparison.json", "comparison.csv"
RESULT_FILES = (COMPARISON, COMPARISON_TABLE)
PERMUTATIONS = 9999
_BATCH = 1000


@dataclass(frozen=True)
class Difference:
    """A score of two models and their difference.

    Attributes:
        name: the class of the F1; `macro` for the mean over the classes.
        scans: number of scans of the class.
        a, b: the two scores.
        interval: interval of a − b; None for a class without scans.
        p: p-value; only for macro F1.
    """

    name: str
    scans: int
    a: float
    b: float
    interval: Interval | None
    p: float | None = None

    @property
    def difference(self) -> float:
        """The score of the first model minus that of the second."""
        return self.a - self.b

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a row of a table."""
        interval = self.interval.as_dict() if self.interval else dict.fromkeys(("low", "high", "method"))
        scores = {"scans": self.scans, "a": self.a, "b": self.b, "difference": self.difference}
        return {"score": self.name, **scores, **interval, "p": self.p}


@dataclass(frozen=True)
class Comparison:
    """Two models on a task.

    Attributes:
        predictions: scans and predictions of the first model.
        differing: number of scans with different predictions.
        rows: macro F1, then the F1 of each class.
        files: the prediction tables, if read from files.
        selections: how the epoch of each model was chosen, if on these scans and known.
    """

    predictions: TaskPredictions
    differing: int
    rows: tuple[Difference, ...]
    files: tuple[str, str] = ("", "")
    selections: tuple[Selection | None, Selection | None] = (None, None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **dict(zip("ab", self.files, strict=True)),
            **{
                f"selection_{letter}": selection and selection.as_dict()
                for letter, selection in zip("ab", self.selections, strict=True)
            },
            "scans": len(self.predictions),
            "differing": self.differing,
            "test": "paired permutation test of macro F1, two-sided",
            "rows": [row.as_dict() for row in self.rows],
        }


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    categories: Sequence[str],
    task: str,
    *,
    names: tuple[str, str] = ("the first", "the second"),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two labelled prediction tables on a task.

    Args:
        a, b: the tables. The order of the rows of `a` only affects which resamples are drawn.
        categories: categories of both tables.
        task: `presence` or `severity`.
        names: names of the tables in errors.
        seed: random seed of resamples and permutations.
        resamples: number of resamples of each interval.

    Raises:
        PredictionsError: a scan is in only one of the tables or has different labels, or no scan has a label for the
            task.
    """
    check_same_scans(a, b, names)
    b = b.set_index("scan").loc[a["scan"]].reset_index()
    first, second = task_predictions(a, categories)[task], task_predictions(b, categories)[task]
    if not len(first):
        other = "presence" if task == "severity" else "severity"
        raise PredictionsError(f"no scan of {names[0]} has a label for {task}: give --task {other}")
    differing = int((first.predicted != second.predicted).sum())
    return Comparison(first, differing, tuple(_differences(first, second, seed, resamples)))


def check_same_scans(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> None:
    """Check that two prediction tables have the same scans with the same labels.

    Raises:
        PredictionsError: they have not; the message names the first scan that differs.
    """
    for table, name in zip((a, b), names, strict=True):
        if "label" not in table or not (table["label"] != "").any():
            raise PredictionsError(f"{name} has no labels: without them it can't be scored")
    labels: list[dict[str, str]] = [dict(zip(table["scan"], table["label"], strict=True)) for table in (a, b)]
    for one, other in ((0, 1), (1, 0)):
        if missing := sorted(labels[one].keys() - labels[other].keys()):
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise PredictionsError(
                f"{missing[0]}{more} is in {names[one]} but not in {names[other]}: give tables of the same scans"
            )
    for scan, label in sorted(labels[0].items()):
        if label != (second := labels[1][scan]):
            shown = [text or "without a label" for text in (label, second)]
            raise PredictionsError(
                f"{scan} is {shown[0]} in {names[0]} and {shown[1]} in {names[1]}: give tables with equal labels"
            )


def _differences(a: TaskPredictions, b: TaskPredictions, seed: int, resamples: int) -> list[Difference]:
    classes = len(a.classes)
    true, predicted_a, predicted_b, prior = _with_pseudo_scans(a, b)

    def both(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return f1_scores(true, predicted_a, classes, weights), f1_scores(true, predicted_b, classes, weights)

    def apart(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of_a, of_b = both(weights)
        return of_a - of_b

    found = intervals(apart, true, prior, seed=seed, resamples=resamples)
    of_a, of_b = both(np.where(prior > 0, 0.0, 1.0))
    scans = [len(a), *a.counts.tolist()]
    p = _p_value(a, b, seed)
    return [
        Difference(
            name, scans[row], float(of_a[row]), float(of_b[row]), found[row] if scans[row] else None, None if row else p
        )
        for row, name in enumerate(("macro", *a.classes))
    ]


def _with_pseudo_scans(
    a: TaskPredictions, b: TaskPredictions
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """True classes, predictions of both models and prior weights of the scans, followed by the pseudo-scans.

    There is one for each class that occurs and each pair of predictions. For each model their weights add up to those
    of its own pseudo-scans (`TaskPredictions`).
    """
    classes = len(a.classes)
    pairs = np.arange(classes * classes)
    true = np.repeat(np.flatnonzero(a.counts), len(pairs))
    times = len(true) // len(pairs)
    prior = np.repeat([0.0, 0.5 / classes], [len(a), len(true)])
    return (
        np.concatenate([a.true, true]),
        np.concatenate([a.predicted, np.tile(pairs // classes, times)]),
        np.concatenate([b.predicted, np.tile(pairs % classes, times)]),
        prior,
    )


def _p_value(a: TaskPredictions, b: TaskPredictions, seed: int) -> float:
    """P-value of the paired permutation test of macro F1, two-sided."""
    from scipy.stats import permutation_test

    classes = len(a.classes)
    differ = a.predicted != b.predicted
    if differ.sum() < 2:  # exchanging one scan only changes the sign of the difference
        return 1.0
    alike = np.bincount(a.true[~differ] * classes + a.predicted[~differ], minlength=classes**2)
    offset = a.true[differ] * classes

    def score(predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        cells = (predicted + offset).reshape(-1, predicted.shape[-1])
        numbered = cells + classes**2 * np.arange(len(cells))[:, None]
        counts = np.bincount(numbered.ravel(), minlength=classes**2 * len(cells)).reshape(-1, classes**2) + alike
        return f1(counts.reshape(*predicted.shape[:-1], classes, classes).astype(np.float64)).mean(axis=-1)

    def apart(of_a: NDArray[np.int64], of_b: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return score(of_a) - score(of_b)

    found = permutation_test(
        (a.predicted[differ], b.predicted[differ]),
        apart,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def compare_runs(run_a: Path, run_b: Path, task: str, *, seed: int = 0) -> Comparison:
    """Compare two runs, or prediction tables, on a task.

    Args:
        run_a, run_b: folders of runs (predictions of the best epoch on the fold), of cross-validations (predictions of
            all folds), results of `validate`, or prediction tables.
        task: `presence` or `severity`.
        seed: random seed of resamples and permutations.

    Raises:
        PredictionsError: one has no prediction table, or they can't be compared; see `compare`.
    """
    files = [table_of(run, task) for run in (run_a, run_b)]
    (a, categories), (b, others) = (load_predictions(file) for file in files)
    if categories != others:
        raise PredictionsError(
            f"{files[0]} has the categories {', '.join(categories)}, but {files[1]} has {', '.join(others)}: they "
            "can't be compared"
        )
    names = (str(files[0]), str(files[1]))
    found = compare(a, b, categories, task, names=names, seed=seed)
    chosen = [selection_of_run(file.parent, task) if file.name == validation_table(task) else None for file in files]
    return replace(found, files=names, selections=(chosen[0], chosen[1]))


def table_of(run: Path, task: str) -> Path:
    """The prediction table at a path; in the folder of a run, the table of its best epoch.

    Raises:
        PredictionsError: there is none.
    """
    if not run.is_dir():
        return run
    names = (validation_table(task), out_of_fold_table(task), PREDICTIONS)
    for name in names:
        if (run / name).is_file():
            return run / name
    raise PredictionsError(
        f"{run} has no {names[0]}, {names[1]} or {names[2]}: give the folder of a run, of a cross-validation or of the "
        "results of cov3d validate, or a prediction table"
    )


def save(found: Mapping[str, Comparison], folder: Path, seed: int) -> None:
    """Write `comparison.json` and `comparison.csv` with all tasks.

    Raises:
        OutputError: the folder can't be written.
    """
    as_dict = {"seed": seed, **{task: comparison.as_dict() for task, comparison in found.items()}}
    write_text(folder / COMPARISON, json.dumps(as_dict, indent=2) + "\n")
    rows = [{"task": task, **row.as_dict()} for task, comparison in found.items() for row in comparison.rows]
    write_text(folder / COMPARISON_TABLE, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
