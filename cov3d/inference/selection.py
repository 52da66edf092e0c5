"""Select the members of an ensemble, and the threshold for positive scans, on labelled out-of-fold predictions.

Members are selected by greedy forward selection: first the best one, then repeatedly the one that raises the macro F1
most, until none does. The macro F1 of the result is optimistic, because it is the best of many tries on these scans.
So the selection is repeated five times with a fifth of the scans left out, and the left-out scans are scored with the
selection made without them. This cross-fitted score estimates the score on new scans.

Each member is selected at most once. Selection with replacement, which weights members, would overfit a few hundred
scans even more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.datasets.folds import FOLDS, assign_folds
from cov3d.errors import PredictionsError
from cov3d.evaluation.metrics import PRESENCE, THRESHOLD, predict_presence, predict_severity
from cov3d.inference.ensemble import (
    average,
    known_labels,
    mean_of_members,
    stacked_conditional,
    stacked_probabilities,
)
from cov3d.inference.member_tables import MemberTable, check_together
from cov3d.inference.task import Task
from cov3d.labels import label_index

_BETTER = 1e-9


@dataclass(frozen=True)
class EnsembleSelection:
    """Selected members and threshold, and their prediction tables.

    Attributes:
        members: names of the members, in the order of their selection.
        threshold: a scan is predicted positive if its probability of non-COVID is below this.
        scores: macro F1 after each member was added, at the usual threshold; empty if members were not selected.
        plain: prediction table of the labelled scans, by all members at the usual threshold.
        chosen: prediction table by the selected members and threshold.
        cross_fitted: prediction table in which each scan is predicted by the selection made without it.
    """

    members: tuple[str, ...]
    threshold: float
    scores: tuple[float, ...]
    plain: pd.DataFrame
    chosen: pd.DataFrame
    cross_fitted: pd.DataFrame


def select(
    members: Sequence[MemberTable], task: Task, *, choose_members: bool, choose_threshold: bool, seed: int = 0
) -> EnsembleSelection:
    """Select members, the threshold, or both, by the macro F1 of `task` on the labelled scans.

    The result does not depend on the order of the members: of equally good members, the first by name is selected, and
    of equally good thresholds the one nearest to one half.

    Args:
        members: with labels, predicted by networks that were not trained on the scans.
        task: presence or severity.
        choose_members: select members; else use all.
        choose_threshold: select the threshold for presence; else use one half.
        seed: of the split into fifths.

    Raises:
        PredictionsError: the members can't be averaged, or no scan can be scored.
    """
    check_together(members)
    scored = _scored(sorted(members, key=lambda member: member.name), task)
    all_members, all_rows = list(range(len(scored.names))), np.arange(len(scored.true))

    def choose(rows: NDArray[np.int64]) -> tuple[list[int], list[float], float]:
        chosen, scores = scored.greedy(rows) if choose_members else (all_members, [])
        return chosen, scores, scored.best_threshold(chosen, rows) if choose_threshold else THRESHOLD

    chosen, scores, threshold = choose(all_rows)
    parts = []
    for rows, rest in scored.fifths(seed):
        members_without, _, threshold_without = choose(rest)
        parts.append(scored.table(members_without, rows, threshold_without))
    return EnsembleSelection(
        members=tuple(scored.names[index] for index in chosen),
        threshold=threshold,
        scores=tuple(scores),
        plain=scored.table(all_members, all_rows),
        chosen=scored.table(chosen, all_rows, threshold),
        cross_fitted=pd.concat(parts).sort_values("scan", ignore_index=True),
    )


@dataclass(frozen=True)
class _Scored:
    """The scans that a task is scored on, with the predictions of each member.

    Attributes:
        true: index of the class of each scan.
        probabilities: shape (members, scans, categories).
        conditional: severity given positive, shape (members, scans, severities).
    """

    task: Task
    names: tuple[str, ...]
    categories: tuple[str, ...]
    scans: NDArray[Any]
    labels: NDArray[Any]
    true: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    conditional: NDArray[np.float64]

    def fifths(self, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The scans of each fifth, and the others. Every fifth has about the same share of each class."""
        split = assign_folds(dict(zip(self.scans, map(str, self.true), strict=True)), range(FOLDS), seed)
        fifth = np.array([split[scan] for scan in self.scans])
        for left_out in np.unique(fifth):
            rest = np.flatnonzero(fifth != left_out)
            yield np.flatnonzero(fifth == left_out), rest if len(rest) else np.arange(len(fifth))

    def table(self, chosen: Sequence[int], rows: NDArray[np.int64], threshold: float = THRESHOLD) -> pd.DataFrame:
        """The labelled prediction table of the scans `rows`, by the mean of the selected members."""
        return average(
            list(self.scans[rows]),
            self.probabilities[list(chosen)][:, rows],
            self.categories,
            conditional=self.conditional[list(chosen)][:, rows],
            labels=list(self.labels[rows]),
            threshold=threshold,
        )

    def score(self, chosen: Sequence[int], rows: NDArray[np.int64]) -> float:
        """The macro F1 of the mean of the selected members on the scans `rows`."""
        values = self.probabilities if self.task == Task.PRESENCE else self.conditional
        means = mean_of_members(values[list(chosen)][:, rows])
        if self.task == Task.PRESENCE:
            return macro_f1(self.true[rows], predict_presence(means), len(PRESENCE))
        return macro_f1(self.true[rows], predict_severity(means), means.shape[-1])

    def greedy(self, rows: NDArray[np.int64]) -> tuple[list[int], list[float]]:
        """The members selected on the scans `rows`, and the macro F1 after each."""
        chosen: list[int] = []
        scores: list[float] = []
        while len(chosen) < len(self.names):
            tried = {
                index: self.score([*chosen, index], rows) for index in range(len(self.names)) if index not in chosen
            }
            best = max(tried, key=lambda index: (tried[index], -index))
            if scores and tried[best] < scores[-1] + _BETTER:
                break
            chosen.append(best)
            scores.append(tried[best])
        return chosen, scores

    def best_threshold(self, chosen: Sequence[int], rows: NDArray[np.int64]) -> float:
        """The threshold with the highest macro F1 on the scans `rows`, midway between two probabilities."""
        negative = mean_of_members(self.probabilities[list(chosen)][:, rows])[:, 0]
        values = np.unique(negative)
        candidates = np.append((values[1:] + values[:-1]) / 2, THRESHOLD)
        positive = np.sort(negative[self.true[rows] == 1])
        true_positive = np.searchsorted(positive, candidates)
        predicted_positive = np.searchsorted(np.sort(negative), candidates)
        false_positive = predicted_positive - true_positive
        false_negative = len(positive) - true_positive
        true_negative = len(rows) - predicted_positive - false_negative
        scores = (
            _f1(true_positive, false_positive, false_negative) + _f1(true_negative, false_negative, false_positive)
        ) / 2
        best = candidates[scores > scores.max() - _BETTER]
        return float(best[np.lexsort((best, np.abs(best - THRESHOLD)))[0]])


def _scored(members: Sequence[MemberTable], task: Task) -> _Scored:
    categories = members[0].categories
    labels = known_labels(members) or [""] * len(members[0].table)
    index = np.array([label_index(label, categories) if label else -1 for label in labels])
    severity = task == Task.SEVERITY
    rows = np.flatnonzero((index > 0) & (index < len(categories)) if severity else index >= 0)
    if not len(rows):
        kind = "a severity label" if severity else "a label"
        raise PredictionsError(f"no scan in {members[0].files[0]} has {kind}: selection needs labelled scans")
    return _Scored(
        task=task,
        names=tuple(member.name for member in members),
        categories=categories,
        scans=members[0].table["scan"].to_numpy()[rows],
        labels=np.array(labels, dtype=object)[rows],
        true=index[rows] - 1 if severity else (index[rows] > 0).astype(np.int64),
        probabilities=stacked_probabilities(members)[:, rows],
        conditional=stacked_conditional(members)[:, rows],
    )


def macro_f1(true: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> float:
    """The mean of the F1 over all classes; the F1 is 0 for a class that neither occurs nor is predicted."""
    counts = np.bincount(true * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)
    right = counts.diagonal()
    return float(_f1(right, counts.sum(axis=0) - right, counts.sum(axis=1) - right).mean())


def _f1(true_positive: NDArray[Any], false_positive: NDArray[Any], false_negative: NDArray[Any]) -> NDArray[np.float64]:
    total = 2 * true_positive + false_positive + false_negative
    return np.divide(2 * true_positive, total, out=np.zeros(np.shape(total)), where=total > 0)
