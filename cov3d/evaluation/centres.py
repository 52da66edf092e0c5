"""Scores of each centre. If scans come from several hospitals, a mean over all may hide one with low scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cov3d.datasets.scan_table import CENTRE
from cov3d.errors import PredictionsError
from cov3d.evaluation.measures import F1, MACRO_F1
from cov3d.evaluation.scores import TaskEvaluation, evaluate_task
from cov3d.files import write_text
from cov3d.run_files import CENTRES

UNKNOWN = "unknown"
FILE_NAME = CENTRES


def load_sources(file: Path) -> dict[str, str]:
    """Read the sources of scans from a CSV file with the columns `scan,source`; other columns are ignored.

    Raises:
        PredictionsError: the file is missing, has other columns, or names a scan twice or without a source.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise PredictionsError(f"there is no table of sources at {file}") from None
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{file} can't be read as a table: {error}") from error
    if not {"scan", "source"} <= set(table.columns):
        raise PredictionsError(
            f"{file} must have the columns scan,source (the name and the centre of a scan), not "
            f"{','.join(map(str, table.columns))}"
        )
    repeated = table.loc[table["scan"].duplicated(), "scan"]
    if len(repeated):
        raise PredictionsError(f"{file} names the scan {repeated.iloc[0]} more than once")
    empty = table.loc[table["source"].str.strip() == "", "scan"]
    if len(empty):
        raise PredictionsError(f"{file} has no source for {empty.iloc[0]}: remove the row if the source is unknown")
    return dict(zip(table["scan"], table["source"].str.strip(), strict=True))


def centres_of(table: pd.DataFrame, scans: pd.DataFrame) -> dict[str, str]:
    """The known centres of `scans` in the scan table `table`; empty if it has no column `centre`."""
    if CENTRE not in table:
        return {}
    known = table[(table[CENTRE] != "") & table["scan"].isin(scans["scan"])]
    return dict(zip(known["scan"], known[CENTRE], strict=True))


def check_sources(scans: Iterable[str], sources: Mapping[str, str]) -> None:
    """Check that at least one scan has a source.

    Raises:
        PredictionsError: no scan has one.
    """
    scans = list(scans)
    if not set(scans) & sources.keys():
        raise PredictionsError(
            f"the table of sources has none of the scans, such as {scans[0]}: name scans as in scans.csv"
        )


def evaluate_centres(
    tables: Mapping[str, pd.DataFrame], categories: Sequence[str], sources: Mapping[str, str], *, seed: int = 0
) -> dict[str, dict[str, TaskEvaluation]]:
    """The evaluation of each centre's scans, by centre and task. Scans without a source are `unknown`, which is last.

    Args:
        tables: the labelled prediction table of each task.
        categories: names of the outputs.
        sources: the centre of each scan; scans that are in no table are ignored.
        seed: random seed of the intervals.
    """
    scans = {scan for table in tables.values() for scan in table["scan"]}
    of_scan = {scan: sources.get(scan, UNKNOWN) for scan in scans}
    found: dict[str, dict[str, TaskEvaluation]] = {}
    for centre in sorted(set(of_scan.values()), key=lambda name: (name == UNKNOWN, name)):
        parts = {task: table[table["scan"].map(of_scan) == centre] for task, table in tables.items()}
        found[centre] = {task: evaluate_task(part, categories, task, seed=seed) for task, part in parts.items()}
    return found


def save_centres(found: Mapping[str, Mapping[str, TaskEvaluation]], file: Path) -> None:
    """Write `source,task,score,class,value,low,high,method,scans`, a row for each F1.

    Raises:
        OutputError: the file can't be written.
    """
    rows = [
        {"source": centre, "task": task, **score.as_dict()}
        for centre, tasks in found.items()
        for task, evaluation in tasks.items()
        for score in evaluation.scores
        if score.name in (MACRO_F1, F1)
    ]
    columns = ["source", "task", "score", "class", "value", "low", "high", "method", "scans"]
    write_text(file, pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n"))
