"""Two models on the same scans → the difference of their F1, its interval and its p-value.

The interval resamples scans, of which each brings both models' calls, within each class as `intervals` does. The
p-value is that of a paired permutation test: if the models are as good as each other, each scan's two calls might as
well be exchanged. It holds for macro F1, which is no mean over scans, and in samples of any size; McNemar's test would
be of accuracy. Scans that both call alike change nothing when exchanged, so only the others are; where these are few,
every way to exchange them is tried and the p-value is exact.
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
from cov3d.evaluation.calls import Calls, task_calls
from cov3d.evaluation.confusion import f1, f1_scores
from cov3d.evaluation.intervals import RESAMPLES, Interval, intervals
from cov3d.evaluation.predictions import load_predictions
from cov3d.evaluation.summary import Selection, selection_of_run
from cov3d.files import write_text
from cov3d.run_files import PREDICTIONS, out_of_fold_table, validation_table

COMPARISON, COMPARISON_TABLE = "comparison.json", "comparison.csv"
RESULT_FILES = (COMPARISON, COMPARISON_TABLE)
PERMUTATIONS = 9999
_BATCH = 1000


@dataclass(frozen=True)
class Difference:
    """A score of two models, and how far apart they are.

    Attributes:
        name: of the class whose F1 it is; `macro` for their mean.
        scans: number of scans of the class.
        a, b: the two scores.
        interval: of a − b; None for a class without scans.
        p: p-value, of the macro F1 only.
    """

    name: str
    scans: int
    a: float
    b: float
    interval: Interval | None
    p: float | None = None

    @property
    def difference(self) -> float:
        """How much better the first is."""
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
        calls: the first model's scans and calls.
        differing: on how many scans the two models' calls differ.
        rows: macro F1 first, then the F1 of each class.
        files: the prediction tables, where they were read from files.
        selections: how the epoch of each was chosen, where that was on these scans and is known.
    """

    calls: Calls
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
            "scans": len(self.calls),
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
        a, b: the tables; the order of the first one's rows decides which resamples are drawn, and nothing else.
        categories: of both.
        task: `presence` or `severity`.
        names: of the tables, for the errors.
        seed: of resamples and permutations.
        resamples: of each interval.

    Raises:
        PredictionsError: a scan is in one of them only, or has another label in the other; or none has a label for
            the task.
    """
    check_same_scans(a, b, names)
    b = b.set_index("scan").loc[a["scan"]].reset_index()
    first, second = task_calls(a, categories)[task], task_calls(b, categories)[task]
    if not len(first):
        other = "presence" if task == "severity" else "severity"
        raise PredictionsError(f"no scan of {names[0]} has a label for {task}: give --task {other}")
    differing = int((first.called != second.called).sum())
    return Comparison(first, differing, tuple(_differences(first, second, seed, resamples)))


def check_same_scans(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> None:
    """Make sure that two prediction tables are of the same scans with the same labels.

    Raises:
        PredictionsError: the sentence names the first scan that is not.
    """
    for table, name in zip((a, b), names, strict=True):
        if "label" not in table or not (table["label"] != "").any():
            raise PredictionsError(f"{name} has no labels: without them it can't be scored")
    labels: list[dict[str, str]] = [dict(zip(table["scan"], table["label"], strict=True)) for table in (a, b)]
    for one, other in ((0, 1), (1, 0)):
        if missing := sorted(labels[one].keys() - labels[other].keys()):
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise PredictionsError(
                f"{missing[0]}{more} is in {names[one]} but not in {names[other]}: models are compared on "
                "the same scans"
            )
    for scan, label in sorted(labels[0].items()):
        if label != (second := labels[1][scan]):
            said = [text or "without a label" for text in (label, second)]
            raise PredictionsError(
                f"{scan} is {said[0]} in {names[0]} and {said[1]} in {names[1]}: models are compared on the same labels"
            )


def _differences(a: Calls, b: Calls, seed: int, resamples: int) -> list[Difference]:
    classes = len(a.classes)
    true, called_a, called_b, prior = _with_pseudo_scans(a, b)

    def both(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return f1_scores(true, called_a, classes, weights), f1_scores(true, called_b, classes, weights)

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
    a: Calls, b: Calls
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Truth, both calls and prior weight of the scans and, after them, of pseudo-scans.

    There is one for each class that occurs and each pair of calls, of such a weight that for each of the two models
    they add up to its own pseudo-scans (`Calls`).
    """
    classes = len(a.classes)
    pairs = np.arange(classes * classes)
    true = np.repeat(np.flatnonzero(a.counts), len(pairs))
    times = len(true) // len(pairs)
    prior = np.repeat([0.0, 0.5 / classes], [len(a), len(true)])
    return (
        np.concatenate([a.true, true]),
        np.concatenate([a.called, np.tile(pairs // classes, times)]),
        np.concatenate([b.called, np.tile(pairs % classes, times)]),
        prior,
    )


def _p_value(a: Calls, b: Calls, seed: int) -> float:
    """Of the paired permutation test of macro F1, two-sided."""
    from scipy.stats import permutation_test

    classes = len(a.classes)
    differ = a.called != b.called
    if differ.sum() < 2:  # one scan's calls exchanged give the opposite difference, as far from 0
        return 1.0
    alike = np.bincount(a.true[~differ] * classes + a.called[~differ], minlength=classes**2)
    offset = a.true[differ] * classes

    def score(called: NDArray[np.int64]) -> NDArray[np.float64]:
        cells = (called + offset).reshape(-1, called.shape[-1])
        numbered = cells + classes**2 * np.arange(len(cells))[:, None]
        counts = np.bincount(numbered.ravel(), minlength=classes**2 * len(cells)).reshape(-1, classes**2) + alike
        return f1(counts.reshape(*called.shape[:-1], classes, classes).astype(np.float64)).mean(axis=-1)

    def apart(of_a: NDArray[np.int64], of_b: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return score(of_a) - score(of_b)

    found = permutation_test(
        (a.called[differ], b.called[differ]),
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
        run_a, run_b: folders of runs (their best epoch's predictions on their fold), of cross-validations (those of
            all folds), of what `validate` wrote, or prediction tables.
        task: `presence` or `severity`.
        seed: of resamples and permutations.

    Raises:
        PredictionsError: one has no prediction table, or they do not fit together; see `compare`.
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
    """The prediction table that a path stands for: of a run's folder that of its best epoch.

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
        f"{run} holds no {names[0]}, {names[1]} or {names[2]}: give the folder of a "
        "run, of a cross-validation or of what cov3d validate wrote, or a prediction table"
    )


def save(found: Mapping[str, Comparison], folder: Path, seed: int) -> None:
    """Write `comparison.json` and `comparison.csv`, of each task.

    Raises:
        OutputError: the folder can't be written.
    """
    as_dict = {"seed": seed, **{task: comparison.as_dict() for task, comparison in found.items()}}
    write_text(folder / COMPARISON, json.dumps(as_dict, indent=2) + "\n")
    rows = [{"task": task, **row.as_dict()} for task, comparison in found.items() for row in comparison.rows]
    write_text(folder / COMPARISON_TABLE, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
