"""What becomes of the folds when a scan comes, goes or gets another label."""

from collections.abc import Mapping
from random import Random

import pytest

from cov3d.datasets.folds import assign_folds

SHARES = {"non-covid": 60, "covid": 13, "severe": 5, "mild": 4, "moderate": 4, "critical": 1}
"""About those of COV19-CT-DB."""
TRIALS = 100
MOST, MEAN = 15, 6.0
"""Of 400 scans, how many may move in one trial and on average. A fresh split into four would move 300."""


def draw_label(random: Random, but: str = "") -> str:
    left = {label: share for label, share in SHARES.items() if label != but}
    return random.choices(list(left), list(left.values()))[0]


def dataset(random: Random, count: int = 400) -> dict[str, str]:
    return {f"train/{number % 2}/ct_scan_{number}": draw_label(random) for number in range(count)}


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    return sum(before[scan] != after[scan] for scan in before.keys() & after.keys())


def add(labels: dict[str, str], random: Random) -> None:
    labels[f"train/1/ct_scan_{random.randrange(400, 4000)}"] = draw_label(random)


def remove(labels: dict[str, str], random: Random) -> None:
    del labels[random.choice(list(labels))]


def relabel(labels: dict[str, str], random: Random) -> None:
    scan = random.choice(list(labels))
    labels[scan] = draw_label(random, but=labels[scan])


@pytest.mark.parametrize("change", [add, remove, relabel])
@pytest.mark.parametrize("folds", [range(1, 5), range(5)])
def test_one_change_moves_few_of_400_scans(change: object, folds: range) -> None:
    counts = []
    for trial in range(TRIALS):
        random = Random(trial)
        labels = dataset(random)
        before = assign_folds(labels, folds, seed=trial)
        change(labels, random)  # type: ignore[operator]
        counts.append(moved(before, assign_folds(labels, folds, seed=trial)))
    assert max(counts) <= MOST
    assert sum(counts) / TRIALS <= MEAN


def test_within_one_label_at_most_three_move_at_every_size() -> None:
    # Four folds: the place that is taken passes through each fold once at most. Sizes cross multiples of four.
    labels = {}
    before: dict[str, int] = {}
    for number in range(60):
        labels[f"scan_{number}"] = "mild"
        after = assign_folds(labels, range(1, 5), seed=2)
        assert moved(before, after) <= 3
        before = after


def test_folds_do_not_depend_on_the_order_of_the_scans() -> None:
    labels = dataset(Random(0), count=80)
    shuffled = list(labels)
    Random(1).shuffle(shuffled)
    expected = assign_folds(labels, range(1, 5), seed=0)
    assert assign_folds({scan: labels[scan] for scan in shuffled}, range(1, 5), seed=0) == expected
    assert assign_folds(labels, range(1, 5), seed=1) != expected
