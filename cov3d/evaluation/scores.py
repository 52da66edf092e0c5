"""A labelled prediction table → every score of the two tasks, with its interval, and the curves to draw.

`Measures` defines the scores, of the scans and of resamples alike. Severity is scored on exactly the scans with a
severity label, over all of the dataset's grades, occurring or not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.evaluation.calls import FEW, Calls, task_calls
from cov3d.evaluation.intervals import RESAMPLES, Interval, intervals
from cov3d.evaluation.measures import (
    BINS,
    F1,
    MACRO_F1,
    PR_AREA,
    ROC_AREA,
    SENSITIVITY,
    Measures,
    Name,
    Ranking,
    bins_of,
    confidence,
    precision,
)
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.predictions import score_table
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import SCORE_TABLE, SCORES

SPECIFICITY = 0.95


@dataclass(frozen=True)
class Score:
    """A score: what it is, of which class (empty: of the task), on how many scans, and its interval where it has one.

    The scans of a class's score are those of the class.
    """

    name: str
    of_class: str
    value: float
    interval: Interval | None
    scans: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a row of a table; the interval's are None where there is none."""
        interval = self.interval.as_dict() if self.interval else dict.fromkeys(("low", "high", "method"))
        return {"score": self.name, "class": self.of_class, "value": self.value, **interval, "scans": self.scans}


@dataclass(frozen=True)
class Curve:
    """A curve of a class: points from the strictest threshold to the laxest, and the area under it."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: Score


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram: of each bin with scans its mean probability, the share that came true, their number."""

    probability: NDArray[np.float64]
    came_true: NDArray[np.float64]
    scans: NDArray[np.int64]


@dataclass(frozen=True)
class TaskEvaluation:
    """How well a task was done, in full.

    Attributes:
        calls: the scans.
        result: macro F1, F1 of each class, confusion matrix.
        scores: every score that is defined, macro F1 first; none where no scan could be scored.
        notes: what a reader of the scores must know, a sentence each.
        roc: false positive rate → sensitivity, by class.
        pr: recall → precision, by class.
        reliability: the reliability diagram; None where no scan could be scored.
    """

    calls: Calls
    result: TaskScore
    scores: tuple[Score, ...]
    notes: tuple[str, ...]
    roc: dict[str, Curve]
    pr: dict[str, Curve]
    reliability: Reliability | None

    def score(self, name: str, of_class: str = "") -> Score | None:
        """One of the scores, None where it is not defined."""
        return next((score for score in self.scores if (score.name, score.of_class) == (name, of_class)), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.result.as_dict(),
            "scores": [score.as_dict() for score in self.scores],
            "notes": list(self.notes),
        }


def evaluate(
    table: pd.DataFrame,
    categories: Sequence[str],
    *,
    seed: int = 0,
    specificity: float = SPECIFICITY,
    resamples: int = RESAMPLES,
) -> dict[str, TaskEvaluation]:
    """Score a labelled prediction table, by task: `presence` and `severity`; see `evaluate_task`."""
    return {
        task: evaluate_task(table, categories, task, seed=seed, specificity=specificity, resamples=resamples)
        for task in TASKS
    }


def evaluate_task(
    table: pd.DataFrame,
    categories: Sequence[str],
    task: str,
    *,
    seed: int = 0,
    specificity: float = SPECIFICITY,
    resamples: int = RESAMPLES,
) -> TaskEvaluation:
    """Score a labelled prediction table on one task.

    Args:
        table: with the column `label`; scans without one are left out.
        categories: names of the outputs.
        task: presence or severity.
        seed: of the intervals' resamples.
        specificity: at which the sensitivity to presence is given.
        resamples: of each interval.
    """
    labelled = table[table["label"] != ""]
    results = dict(zip(TASKS, score_table(labelled, categories), strict=True))
    return _evaluate(task_calls(labelled, categories)[task], results[task], seed, specificity, resamples)


def _evaluate(calls: Calls, result: TaskScore, seed: int, specificity: float, resamples: int) -> TaskEvaluation:
    notes = tuple(_notes(calls))
    if not len(calls):
        return TaskEvaluation(calls, result, (), notes, {}, {}, None)

    def called(name: Name) -> str:
        return f"{SENSITIVITY} {specificity:g}" if name.score == SENSITIVITY else name.score

    rows, prior = calls.with_pseudo_scans()
    measures = Measures(calls, rows, specificity)
    found = intervals(measures, rows.true, prior, seed=seed, resamples=resamples)
    by_name = dict(zip(measures.names, found, strict=True))
    of_class = dict(zip(calls.classes, calls.counts.tolist(), strict=True))
    scores = {
        name: Score(called(name), name.of_class, value, by_name.get(name), of_class.get(name.of_class, len(calls)))
        for name, value in _values(calls, result, specificity).items()
    }
    ranked = [name.of_class for name in measures.names if name.score == ROC_AREA]
    return TaskEvaluation(
        calls,
        result,
        tuple(scores.values()),
        notes,
        roc={one: _roc(calls, scores[Name(ROC_AREA, one)]) for one in ranked},
        pr={one: _pr(calls, scores[Name(PR_AREA, one)]) for one in ranked},
        reliability=_reliability(calls),
    )


def _values(calls: Calls, result: TaskScore, specificity: float) -> dict[Name, float]:
    """The scores themselves, of the classes that do not occur their F1 too."""
    measures = Measures(calls, calls, specificity)
    values = {Name(MACRO_F1): float(result.macro_f1 or 0.0)}
    values |= {Name(F1, name): value for name, value in zip(calls.classes, result.f1, strict=True)}
    found = dict(zip(measures.names, measures(np.ones(len(calls))).tolist(), strict=True))
    return {**values, **{name: value for name, value in found.items() if name not in values}}


def _counts(calls: Calls, of_class: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True positives of a class, and all scans called so, from the strictest threshold, which calls none, to the last.

    Returns:
        Two arrays of the shape (thresholds,).
    """
    index = calls.classes.index(of_class)
    true, called = Ranking(calls.true == index, calls.probabilities[:, index], None).counts(np.ones(len(calls)))
    return np.append(0.0, true), np.append(0.0, called)


def _roc(calls: Calls, area: Score) -> Curve:
    true, called = _counts(calls, area.of_class)
    false = called - true
    return Curve(false / false[-1], true / true[-1], area)


def _pr(calls: Calls, area: Score) -> Curve:
    true, called = _counts(calls, area.of_class)
    shares = precision(true, called)
    shares[0] = 1.0  # where none is called so, none is called so wrongly
    return Curve(true / true[-1], shares, area)


def _reliability(calls: Calls) -> Reliability:
    probability, came_true = confidence(calls)
    bins = bins_of(probability)
    counts, total, true = (np.bincount(bins, each, BINS) for each in (None, probability, came_true))
    used = counts > 0
    return Reliability(total[used] / counts[used], true[used] / counts[used], counts[used])


def _notes(calls: Calls) -> list[str]:
    if not len(calls):
        return ["no scan here has a label for this task: there is no score"]
    notes = []
    if len(calls) > 1 and len(set(calls.called.tolist())) == 1:
        only = calls.classes[int(calls.called[0])]
        notes.append(f"every scan was predicted {only.replace('covid', 'COVID-19')}")
    absent = [name for name, count in calls.small.items() if not count]
    if absent:
        classes = len(calls.classes)
        notes.append(
            f"no scan here is {' or '.join(absent)}: {'its' if len(absent) == 1 else 'their'} F1 counts as 0 in the "
            f"mean over the {classes} classes, which can't pass {(classes - len(absent)) / classes:.3f}"
        )
    few = [f"{count} {name}" for name, count in calls.small.items() if count]
    if few:
        notes.append(
            f"few scans ({', '.join(few)}): with fewer than {FEW} of a class, its score is uncertain, and its "
            "interval covers the true score less often than 95 % of the time"
        )
    return notes


def save_scores(found: Mapping[str, TaskEvaluation], folder: Path, about: Mapping[str, Any]) -> None:
    """Write `scores.json` and `scores.csv`.

    Args:
        found: the evaluation, by task.
        folder: where to.
        about: what else `scores.json` says, beside the tasks.

    Raises:
        OutputError: the folder can't be written.
    """
    as_dict = {**about, **{task: evaluation.as_dict() for task, evaluation in found.items()}}
    write_text(folder / SCORES, json.dumps(as_dict, indent=2) + "\n")
    rows = [{"task": task, **score.as_dict()} for task, evaluation in found.items() for score in evaluation.scores]
    columns = ("task", "score", "class", "value", "low", "high", "method", "scans")
    write_text(folder / SCORE_TABLE, pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n"))
