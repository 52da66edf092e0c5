"""Prediction table → the challenge's submission files: scan names only, sorted by number."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from cov3d.challenge.line_format import LineFormat
from cov3d.errors import CheckpointError, DatasetError
from cov3d.files import write_text
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES, NON_COVID, SEVERITIES, UNKNOWN_SEVERITY

PRESENCE_FILES = tuple(f"{name}.csv" for name in (UNKNOWN_SEVERITY, NON_COVID))
SEVERITY_FILES = tuple(f"{name}.csv" for name in SEVERITIES)
FILES = (*PRESENCE_FILES, *SEVERITY_FILES)
"""Every file that a submission may consist of."""


def check_names(scans: Iterable[str]) -> None:
    """Check that no two scans have the same name, because the files have names only.

    Raises:
        DatasetError: two scans have the same name.
    """
    scans = list(scans)
    for name, count in Counter(map(submission_name, scans)).items():
        if count > 1:
            same = [scan for scan in scans if submission_name(scan) == name]
            raise DatasetError(
                f"{count} scans have the name {name} ({same[0]}, {same[1]}), and submission files have names only: "
                "predict one test set at a time, or give --no-submission"
            )


def check_categories(categories: Sequence[str], task: Task) -> None:
    """Check that a checkpoint has the severities of the submission files.

    Raises:
        CheckpointError: it has other categories, and `task` includes severity.
    """
    if task != Task.PRESENCE and tuple(categories) != CATEGORIES:
        raise CheckpointError(
            f"--task {task} writes a file for each of {', '.join(SEVERITIES)}, but the checkpoint has the categories "
            f"{', '.join(categories)}: give --task presence, or --no-submission"
        )


def submission_name(scan: str) -> str:
    """The name of a scan in a submission file: the last part of its path."""
    return scan.rpartition("/")[2]


def write_submission(
    table: pd.DataFrame,
    categories: Sequence[str],
    folder: Path,
    task: Task,
    line_format: LineFormat = LineFormat.PLAIN,
) -> dict[str, int]:
    """Write the files of `task` into `folder` and return the number of names in each.

    Presence: `covid.csv` and `non-covid.csv`. Severity: a file for each severity. For `both` they have the scans
    predicted positive; for `severity` they have all scans, as the challenge's second test set requires.

    Raises:
        DatasetError: two scans have one name.
        CheckpointError: the categories are not the challenge's.
        OutputError: a file can't be written.
    """
    check_categories(categories, task)
    check_names(table["scan"])
    files: dict[str, pd.Series] = {}
    if task in (Task.PRESENCE, Task.BOTH):
        for presence in (UNKNOWN_SEVERITY, NON_COVID):
            files[f"{presence}.csv"] = table.loc[table["presence"] == presence, "scan"]
    if task in (Task.SEVERITY, Task.BOTH):
        positive = table if task == Task.SEVERITY else table[table["presence"] == UNKNOWN_SEVERITY]
        for severity in categories[1:]:
            files[f"{severity}.csv"] = positive.loc[positive["severity"] == severity, "scan"]
    for name, scans in files.items():
        names = sorted(map(submission_name, scans), key=_by_number)
        write_text(folder / name, line_format.render(names))
    return {name: len(scans) for name, scans in files.items()}


def _by_number(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name
