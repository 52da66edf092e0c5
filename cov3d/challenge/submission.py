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
    """Refuse two scans of one name: the files hold nothing but names.

    Raises:
        DatasetError: the sentence names the two.
    """
    scans = list(scans)
    for name, count in Counter(map(submission_name, scans)).items():
        if count > 1:
            same = [scan for scan in scans if submission_name(scan) == name]
            raise DatasetError(
                f"{count} scans are called {name} ({same[0]}, {same[1]}), and submission files hold names only: "
                "predict one test set at a time, or give --no-submission"
            )


def check_categories(categories: Sequence[str], task: Task) -> None:
    """Refuse to write the four files of grades from a checkpoint that has others.

    Raises:
        CheckpointError: its categories are not the challenge's, and `task` asks for a file a grade.
    """
    if task != Task.PRESENCE and tuple(categories) != CATEGORIES:
        raise CheckpointError(
            f"--task {task} writes a file for each of {', '.join(SEVERITIES)}, but the checkpoint has the categories "
            f"{', '.join(categories)}: give --task presence, or --no-submission"
        )


def submission_name(scan: str) -> str:
    """The name of a scan in a submission file: that of its folder."""
    return scan.rpartition("/")[2]


def write_submission(
    table: pd.DataFrame,
    categories: Sequence[str],
    folder: Path,
    task: Task,
    line_format: LineFormat = LineFormat.PLAIN,
) -> dict[str, int]:
    """Write the files of `task` into `folder` and return the number of names in each.

    Presence: `covid.csv` and `non-covid.csv`. Severity: a file for each grade; of `both`, they hold the scans called
    positive, of `severity` alone every scan, as the challenge's second test set asks.

    Raises:
        DatasetError: two scans have one name.
        CheckpointError: the categories are not the challenge's.
        OutputError: a file can't be written.
    """
    check_categories(categories, task)
    check_names(table["scan"])
    files: dict[str, pd.Series] = {}
    if task in (Task.PRESENCE, Task.BOTH):
        for call in (UNKNOWN_SEVERITY, NON_COVID):
            files[f"{call}.csv"] = table.loc[table["presence"] == call, "scan"]
    if task in (Task.SEVERITY, Task.BOTH):
        graded = table if task == Task.SEVERITY else table[table["presence"] == UNKNOWN_SEVERITY]
        for grade in categories[1:]:
            files[f"{grade}.csv"] = graded.loc[graded["severity"] == grade, "scan"]
    for name, scans in files.items():
        names = sorted(map(submission_name, scans), key=_by_number)
        write_text(folder / name, line_format.render(names))
    return {name: len(scans) for name, scans in files.items()}


def _by_number(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name
