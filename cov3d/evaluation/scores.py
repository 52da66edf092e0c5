"""A labelled prediction table → every score of the two tasks with its interval, and the curves to draw.

`Measures` computes the scores of the scans and of resamples. Severity is scored on the scans with a severity label,
over all severities of the dataset, whether they occur or not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
from cov3d.evaluation.task_predictions import FEW, TaskPredictions, task_predictions
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import SCORE_TABLE, SCORES

SPECIFICITY = 0.95


@dataclass(frozen=True)
class Score:
    """A score and its interval.

    Attributes:
        name: name of the score.
        of_class: name of the class; empty for a score of the task.
        value: the score.
        interval: the 95 % interval; None if there is none.
        scans: number of scans: of the class, or of all scored scans for a score of the task.
    """

    name: str
    of_class: str
    value: float
    interval: Interval | None
    scans: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a row of a table."""
        interval = self.interval.as_dict() if self.interval else dict.fromkeys(("low", "high", "method"))
        return {"score": self.name, "class": self.of_class, "value": self.value, **interval, "scans": self.scans}


@dataclass(frozen=True)
class Curve:
    """A curve of a class: its points from the strictest threshold to the laxest, and the area under it."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: Score


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram: mean probability, share that came true and number of scans of each bin with scans."""

    probability: NDArray[np.float64]
    came_true: NDArray[np.float64]
    scans: NDArray[np.int64]


@dataclass(frozen=True)
class TaskEvaluation:
    """All scores of a task.

    Attributes:
        predictions: the scored scans.
        result: macro F1, F1 of each class, confusion matrix.
        scores: every score that is defined, macro F1 first; none if no scan could be scored.
        notes: sentences that a reader of the scores should know.
        roc: false positive rate → sensitivity, by class.
        pr: recall → precision, by class.
        reliability: the reliability diagram; None if no scan could be scored.
    """

    predictions: TaskPredictions
    result: TaskScore
    scores: tuple[Score, ...]
    notes: tuple[str, ...]
    roc: dict[str, Curve]
    pr: dict[str, Curve]
    reliability: Reliability | None

    def score(self, name: str, of_class: str = "") -> Score | None:
        """One of the scores; None if it is not defined."""
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
        seed: random seed of the intervals.
        specificity: specificity at which the sensitivity to presence is computed.
        resamples: number of resamples of each interval.
    """
    labelled = table[table["label"] != ""]
    results = dict(zip(TASKS, score_table(labelled, categories), strict=True))
    return _evaluate(task_predictions(labelled, categories)[task], results[task], seed, specificity, resamples)


def _evaluate(
    predictions: TaskPredictions, result: TaskScore, seed: int, specificity: float, resamples: int
) -> TaskEvaluation:
    notes = tuple(_notes(predictions))
    if not len(predictions):
        return TaskEvaluation(predictions, result, (), notes, {}, {}, None)

    def score_name(name: Name) -> str:
        return f"{SENSITIVITY} {specificity:g}" if name.score == SENSITIVITY else name.score

    rows, prior = predictions.with_pseudo_scans()
    measures = Measures(predictions, rows, specificity)
    found = intervals(measures, rows.true, prior, seed=seed, resamples=resamples)
    by_name = dict(zip(measures.names, found, strict=True))
    of_class = dict(zip(predictions.classes, predictions.counts.tolist(), strict=True))
    scores = {
        name: Score(
            score_name(name), name.of_class, value, by_name.get(name), of_class.get(name.of_class, len(predictions))
        )
        for name, value in _values(predictions, result, specificity).items()
    }
    ranked = [name.of_class for name in measures.names if name.score == ROC_AREA]
    return TaskEvaluation(
        predictions,
        result,
        tuple(scores.values()),
        notes,
        roc={one: _roc(predictions, scores[Name(ROC_AREA, one)]) for one in ranked},
        pr={one: _pr(predictions, scores[Name(PR_AREA, one)]) for one in ranked},
        reliability=_reliability(predictions),
    )


def _values(predictions: TaskPredictions, result: TaskScore, specificity: float) -> dict[Name, float]:
    """The scores themselves, including the F1 of classes that do not occur."""
    measures = Measures(predictions, predictions, specificity)
    values = {Name(MACRO_F1): float(result.macro_f1 or 0.0)}
    values |= {Name(F1, name): value for name, value in zip(predictions.classes, result.f1, strict=True)}
    found = dict(zip(measures.names, measures(np.ones(len(predictions))).tolist(), strict=True))
    return {**values, **{name: value for name, value in found.items() if name not in values}}


def _counts(predictions: TaskPredictions, of_class: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numbers of true positives and of all positive predictions of a class, at each threshold, the strictest first.

    Returns:
        Two arrays of shape (thresholds,). At the first threshold no scan is predicted positive.
    """
    index = predictions.classes.index(of_class)
    ranking = Ranking(predictions.true == index, predictions.probabilities[:, index], None)
    true, predicted = ranking.counts(np.ones(len(predictions)))
    return np.append(0.0, true), np.append(0.0, predicted)


def _roc(predictions: TaskPredictions, area: Score) -> Curve:
    true, predicted = _counts(predictions, area.of_class)
    false = predicted - true
    return Curve(false / false[-1], true / true[-1], area)


def _pr(predictions: TaskPredictions, area: Score) -> Curve:
    true, predicted = _counts(predictions, area.of_class)
    shares = precision(true, predicted)
    shares[0] = 1.0  # without positive predictions, none is wrong
    return Curve(true / true[-1], shares, area)


def _reliability(predictions: TaskPredictions) -> Reliability:
    probability, came_true = confidence(predictions)
    bins = bins_of(probability)
    counts, total, true = (np.bincount(bins, each, BINS) for each in (None, probability, came_true))
    used = counts > 0
    return Reliability(total[used] / counts[used], true[used] / counts[used], counts[used])


def _notes(predictions: TaskPredictions) -> list[str]:
    if not len(predictions):
        return ["no scan has a label for this task: there is no score"]
    notes = []
    if len(predictions) > 1 and len(set(predictions.predicted.tolist())) == 1:
        only = predictions.classes[int(predictions.predicted[0])]
        notes.append(f"every scan was predicted {only.replace('covid', 'COVID-19')}")
    absent = [name for name, count in predictions.small.items() if not count]
    if absent:
        classes = len(predictions.classes)
        notes.append(
            f"no scan is {' or '.join(absent)}: {'its' if len(absent) == 1 else 'their'} F1 counts as 0 in the mean "
            f"over the {classes} classes, so macro F1 is at most {(classes - len(absent)) / classes:.3f}"
        )
    few = [f"{count} {name}" for name, count in predictions.small.items() if count]
    if few:
        notes.append(
            f"few scans ({', '.join(few)}): with fewer than {FEW} of a class, its score is uncertain, and its "
            "interval covers the true score less than 95 % of the time"
        )
    return notes


def save_scores(found: Mapping[str, TaskEvaluation], folder: Path, about: Mapping[str, Any]) -> None:
    """Write `scores.json` and `scores.csv`.

    Args:
        found: the evaluation, by task.
        folder: folder to write to.
        about: further content of `scores.json`.

    Raises:
        OutputError: the folder can't be written.
    """
    as_dict = {**about, **{task: evaluation.as_dict() for task, evaluation in found.items()}}
    write_text(folder / SCORES, json.dumps(as_dict, indent=2) + "\n")
    rows = [{"task": task, **score.as_dict()} for task, evaluation in found.items() for score in evaluation.scores]
    columns = ("task", "score", "class", "value", "low", "high", "method", "scans")
    write_text(folder / SCORE_TABLE, pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n"))
