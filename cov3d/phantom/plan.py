"""Which scans a synthetic dataset holds: partitions, grades, folder names and labels. Draws no picture.

A scan's grade follows from its number alone, in fixed cycles, so that small datasets hold all grades and a
scan stays the same when more are asked for. Names follow COV19-CT-DB's, with its two forms and its repeats
across classes.
"""

from dataclasses import dataclass

import numpy as np

from cov3d.errors import DatasetError
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

PARTITIONS = ("train", "validation", "task1", "task2")
MINIMUM = 12
CYCLES = {
    "train": ("mild", "severe", "moderate", "critical", "severe", "mild", "moderate", "severe"),
    "validation": ("critical", "mild", "moderate", "severe", "severe", "mild", "moderate", "severe"),
    "task1": ("severe", "mild", "moderate", "critical", "severe", "mild", "moderate", "severe"),
    "task2": ("moderate", "severe", "mild", "critical", "severe", "mild", "moderate", "severe"),
}
ALWAYS_GRADED = 4
"""So many of a partition's first COVID scans have a severity row; of the rest about half have."""


@dataclass(frozen=True)
class Planned:
    """One scan to make: partition and number, path below the root, grade, and its label in the dataset."""

    partition: str
    number: int
    path: str
    grade: str
    label: str


def grade_of(partition: str, number: int) -> str:
    """What scan `number` of a partition shows: every second one COVID-19, in task 2 every one."""
    if partition == "task2":
        return CYCLES[partition][number % len(CYCLES[partition])]
    if number % 2:
        return NON_COVID
    return CYCLES[partition][number // 2 % len(CYCLES[partition])]


def label_of(partition: str, number: int) -> str:
    """The label that the dataset gives: about half of the COVID scans have no severity there."""
    grade = grade_of(partition, number)
    if partition in ("task1", "task2") or grade == NON_COVID:
        return grade
    later = number // 2 - ALWAYS_GRADED
    # Seven against the cycles' eight: no grade is hidden more than another.
    return UNKNOWN_SEVERITY if later >= 0 and later % 7 % 2 == 0 else grade


def counts(scans: int) -> dict[str, int]:
    """Scans of each partition: half train, three tenths validation, the rest test, a third of it task 2."""
    if scans < MINIMUM:
        raise DatasetError(f"a phantom dataset needs at least {MINIMUM} scans to fill its partitions, not {scans}.")
    test = max(3, round(0.2 * scans))
    validation = round(0.3 * scans)
    second = max(1, round(test / 3))
    return {
        "train": scans - test - validation,
        "validation": validation,
        "task1": test - second,
        "task2": second,
    }


def plan(scans: int, seed: int) -> list[Planned]:
    """Every scan of a dataset, in order of partition and number."""
    return [scan for partition, count in counts(scans).items() for scan in _partition(partition, count, seed)]


def _partition(partition: str, count: int, seed: int) -> list[Planned]:
    grades = [grade_of(partition, number) for number in range(count)]
    numbers = _folder_numbers(seed, count)
    forms = np.random.default_rng([seed, 1, PARTITIONS.index(partition)]).random(count + 2) < 0.5
    seen = {True: 0, False: 0}
    planned = []
    for number, grade in enumerate(grades):
        sick = grade != NON_COVID
        place = seen[sick]
        seen[sick] += 1
        if partition == "task1":
            folder = f"task1/subset{1 + number * _subsets(count) // count}/test_ct_scan_{numbers[number]}"
        elif partition == "task2":
            folder = f"task2/part_2_test_set_ICASSP_23/test_ct_scan_{numbers[number]}"
        else:
            # The first two of a class have one form each; the numbers are shared by classes and partitions.
            bare = bool(place) if place < 2 else bool(forms[number])
            name = f"ct_scan{numbers[place]}" if bare else f"ct_scan_{numbers[place]}"
            folder = f"{partition}/{'covid' if sick else NON_COVID}/{name}"
        planned.append(Planned(partition, number, folder, grade, label_of(partition, number)))
    return planned


def _folder_numbers(seed: int, count: int) -> list[int]:
    steps = np.random.default_rng([seed, 0]).integers(1, 4, count)
    return (np.cumsum(steps) - 1).tolist()


def _subsets(count: int) -> int:
    return min(11, max(min(2, count), count // 5))
