"""The list of scans of a synthetic dataset: partitions, categories, folder names and labels.

A scan's category depends only on its number, in fixed cycles. So small datasets contain all categories, and a scan
stays the same in a larger dataset. Names are like those of COV19-CT-DB, in its two forms, and may occur in several
classes.
"""

from dataclasses import dataclass

import numpy as np

from cov3d.datasets.names import LesionSides
from cov3d.errors import DatasetError
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY
from cov3d.phantom.lesions import Lungs

PARTITIONS = ("train", "validation", "task1", "task2")
MINIMUM = 12
CYCLES = {
    "train": ("mild", "severe", "moderate", "critical", "severe", "mild", "moderate", "severe"),
    "validation": ("critical", "mild", "moderate", "severe", "severe", "mild", "moderate", "severe"),
    "task1": ("severe", "mild", "moderate", "critical", "severe", "mild", "moderate", "severe"),
    "task2": ("moderate", "severe", "mild", "critical", "severe", "mild", "moderate", "severe"),
}
ALWAYS_WITH_SEVERITY = 4
"""The first COVID scans of a partition, up to this number, have a severity label; of the others about half have."""


@dataclass(frozen=True)
class Planned:
    """A scan to make: partition and number, path below the root, category, and its label in the dataset."""

    partition: str
    number: int
    path: str
    category: str
    label: str

    @property
    def place(self) -> int:
        """Its place among the scans of its partition and class."""
        return class_place(self.partition, self.number)


def category_of(partition: str, number: int) -> str:
    """The category of scan `number` of a partition: COVID-19 for every second scan, and for all in task 2."""
    if partition == "task2":
        return CYCLES[partition][number % len(CYCLES[partition])]
    if number % 2:
        return NON_COVID
    return CYCLES[partition][number // 2 % len(CYCLES[partition])]


def label_of(partition: str, number: int) -> str:
    """The label in the dataset, in which about half of the COVID scans have no severity."""
    category = category_of(partition, number)
    if partition in ("task1", "task2") or category == NON_COVID:
        return category
    later = number // 2 - ALWAYS_WITH_SEVERITY
    # A cycle of seven against the categories' eight, so that all categories are hidden equally often.
    return UNKNOWN_SEVERITY if later >= 0 and later % 7 % 2 == 0 else category


def lungs_of(lesions: LesionSides, seed: int, partition: str, number: int) -> Lungs:
    """The lungs with lesions, if the scan has any.

    Sides of one-sided scans are drawn in pairs of successive COVID scans, one left and one right in random order.
    """
    if lesions == LesionSides.BOTH:
        return "both"
    if lesions != LesionSides.ONE_SIDED:
        return "left" if lesions == LesionSides.LEFT else "right"
    place = class_place(partition, number)
    first = np.random.default_rng([seed, 2, PARTITIONS.index(partition), place // 2]).integers(2)
    return "left" if (place + first) % 2 else "right"


def class_place(partition: str, number: int) -> int:
    """A scan's place among those of its partition and class. COVID and other scans alternate, except in task 2."""
    return number if partition == "task2" else number // 2


def counts(n_scans: int) -> dict[str, int]:
    """Number of scans of each partition: half train, three tenths validation, the rest test (a third of it task 2)."""
    if n_scans < MINIMUM:
        raise DatasetError(f"a phantom dataset needs at least {MINIMUM} scans to fill its partitions, not {n_scans}.")
    test = max(3, round(0.2 * n_scans))
    validation = round(0.3 * n_scans)
    second = max(1, round(test / 3))
    return {
        "train": n_scans - test - validation,
        "validation": validation,
        "task1": test - second,
        "task2": second,
    }


def plan(n_scans: int, seed: int) -> list[Planned]:
    """All scans of a dataset, in order of partition and number."""
    return [scan for partition, count in counts(n_scans).items() for scan in _partition(partition, count, seed)]


def _partition(partition: str, count: int, seed: int) -> list[Planned]:
    categories = [category_of(partition, number) for number in range(count)]
    numbers = _folder_numbers(seed, count)
    forms = np.random.default_rng([seed, 1, PARTITIONS.index(partition)]).random(count + 2) < 0.5
    seen = {True: 0, False: 0}
    planned = []
    for number, category in enumerate(categories):
        sick = category != NON_COVID
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
        planned.append(Planned(partition, number, folder, category, label_of(partition, number)))
    return planned


def _folder_numbers(seed: int, count: int) -> list[int]:
    steps = np.random.default_rng([seed, 0]).integers(1, 4, count)
    return (np.cumsum(steps) - 1).tolist()


def _subsets(count: int) -> int:
    return min(11, max(min(2, count), count // 5))
