"""How often does a 95 % interval hold the true score? Simulated sets of calls, of known truth.

    python benchmarks/coverage.py --sets 2000 --resamples 2000

Each scan of a set is called right with probability 0.7, else one of the other classes. The true score is that of the
expected confusion matrix at the same class sizes. Sizes are those of the severities in COV19-CT-DB's validation
partition, of which one has five scans, and two classes of 150. The intervals are those that every command prints.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cov3d.evaluation.confusion import f1, f1_scores
from cov3d.evaluation.intervals import Interval, Method, intervals
from cov3d.evaluation.task_predictions import TaskPredictions

SIZES = ((31, 20, 45, 5), (150, 150))
ACCURACY = 0.7


@dataclass(frozen=True)
class Coverage:
    """Share of the sets whose interval held the true score: of macro F1 first, then of the F1 of each class.

    Attributes:
        truth: the true scores.
        held: the share of intervals that held it.
        low, high: the shares of intervals that lay wholly below, and above, it.
        width: the intervals' mean width.
        posterior: the share of intervals that BCa did not give.
    """

    truth: NDArray[np.float64]
    held: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    width: NDArray[np.float64]
    posterior: NDArray[np.float64]


def simulate(sizes: Sequence[int], accuracy: float, sets: int, seed: int) -> Iterator[TaskPredictions]:
    """Sets of scans of these class sizes, called at random."""
    rng = np.random.default_rng(seed)
    classes = len(sizes)
    true = np.repeat(np.arange(classes), sizes)
    names = tuple(f"class {c}" for c in range(classes))
    for _ in range(sets):
        other = (true + rng.integers(1, classes, len(true))) % classes
        called = np.where(rng.random(len(true)) < accuracy, true, other)
        yield TaskPredictions(("",) * len(true), names, true, called, np.eye(classes)[called])


def true_scores(sizes: Sequence[int], accuracy: float) -> NDArray[np.float64]:
    """Macro F1 and F1 of each class of the expected confusion matrix."""
    classes = len(sizes)
    shares = np.full((classes, classes), (1 - accuracy) / (classes - 1))
    np.fill_diagonal(shares, accuracy)
    each = f1(shares * np.array(sizes)[:, None])
    return np.array([each.mean(), *each])


def coverage(sizes: Sequence[int], accuracy: float = ACCURACY, *, sets: int, resamples: int, seed: int) -> Coverage:
    """Find the intervals of `sets` simulated sets, and how many hold the true scores."""
    truth = true_scores(sizes, accuracy)
    found: list[list[Interval]] = []
    for number, calls in enumerate(simulate(sizes, accuracy, sets, seed)):
        rows, prior = calls.with_pseudo_scans()
        statistic = partial(f1_scores, rows.true, rows.predicted, len(sizes))
        found.append(intervals(statistic, rows.true, prior, seed=number, resamples=resamples))
    low, high = (np.array([[getattr(i, end) for i in row] for row in found]) for end in ("low", "high"))
    return Coverage(
        truth=truth,
        held=((low <= truth) & (truth <= high)).mean(axis=0),
        low=(high < truth).mean(axis=0),
        high=(low > truth).mean(axis=0),
        width=(high - low).mean(axis=0),
        posterior=np.mean([[i.method == Method.POSTERIOR for i in row] for row in found], axis=0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--accuracy", type=float, default=ACCURACY)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    console = Console(highlight=False)
    for sizes in SIZES:
        started = time.monotonic()
        found = coverage(sizes, given.accuracy, sets=given.sets, resamples=given.resamples, seed=given.seed)
        seconds = time.monotonic() - started
        table = Table(title=f"classes of {', '.join(map(str, sizes))}: {given.sets} sets, {seconds:.0f} s")
        for column in ("score", "scans", "truth", "held", "below", "above", "mean width", "not BCa"):
            table.add_column(column, justify="right")
        names = [("macro F1", sum(sizes)), *((f"F1 of class {c}", size) for c, size in enumerate(sizes))]
        for index, (name, scans) in enumerate(names):
            shares = (found.held, found.low, found.high, found.width, found.posterior)
            held, below, above, width, posterior = (values[index] for values in shares)
            table.add_row(
                *(name, str(scans), f"{found.truth[index]:.3f}", f"{held:.1%}", f"{below:.1%}", f"{above:.1%}"),
                *(f"{width:.3f}", f"{posterior:.1%}"),
            )
        console.print(table)


if __name__ == "__main__":
    main()
