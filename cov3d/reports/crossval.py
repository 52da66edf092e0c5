"""The runs of one configuration on each of its folds → out-of-fold tables and scores, as in Table 5."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from cov3d.errors import DatasetError, OutputError
from cov3d.reports.tables import number
from cov3d.training.callbacks import TASKS
from cov3d.training.learner import SUMMARY
from cov3d.training.metrics import TaskScore
from cov3d.training.predictions import save_predictions, score_table

FOLD_SCORES = "folds.csv"


@dataclass(frozen=True)
class CrossValidation:
    """What the runs on all folds found.

    Attributes:
        categories: of the networks.
        tables: by task, the labelled prediction table of every scan by the network that was not trained on it, with
            its `fold`; of the epoch that was the task's best on that fold.
        pooled: by task, the score of that table.
        folds: a row a fold and task: `fold, task, scans, macro_f1, best_epoch, epochs, last_macro_f1`.
    """

    categories: tuple[str, ...]
    tables: dict[str, pd.DataFrame]
    pooled: dict[str, TaskScore]
    folds: pd.DataFrame

    def mean_and_deviation(self, task: str, score: str = "macro_f1") -> tuple[float, float]:
        """Mean and standard deviation (of a sample) of a task's score over the folds that have one."""
        values = self.folds.loc[self.folds["task"] == task, score].astype(float).dropna()
        return float(values.mean()), float(values.std())


def fold_scores_table(found: CrossValidation) -> Table:
    """Macro F1 by fold and task, at the epoch chosen on that fold and at the last, with mean and deviation."""
    table = Table(title="Macro F1 by fold", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("task", "fold", "scans", "selected on this fold", "its epoch", "last epoch"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, rows in found.folds.groupby("task", sort=False):
        for row in rows.to_dict("records"):
            best, last = (None if pd.isna(row[score]) else row[score] for score in ("macro_f1", "last_macro_f1"))
            epoch = "–" if pd.isna(row["best_epoch"]) else f"{row['best_epoch']:.0f} of {row['epochs']}"
            table.add_row(str(task), str(row["fold"]), str(row["scans"]), number(best), epoch, number(last))
        in_words = [_mean_in_words(found, str(task), score) for score in ("macro_f1", "last_macro_f1")]
        table.add_row("", "[bold]mean ± sd", "", f"[bold]{in_words[0]}", "", f"[bold]{in_words[1]}")
        if str(task) in found.pooled:
            pooled = found.pooled[str(task)]
            table.add_row("", "pooled", str(pooled.scans), number(pooled.macro_f1))
        table.add_section()
    return table


def _mean_in_words(found: CrossValidation, task: str, score: str) -> str:
    mean, deviation = found.mean_and_deviation(task, score)
    if pd.isna(mean):
        return "–"
    return f"{mean:.3f}" if pd.isna(deviation) else f"{mean:.3f} ± {deviation:.3f}"


def unfinished(runs: Mapping[int, Path]) -> list[int]:
    """The folds whose run is not finished, by the runs' folders."""
    return [fold for fold, folder in sorted(runs.items()) if not (folder / SUMMARY).exists()]


def collect(runs: Mapping[int, Path]) -> CrossValidation:
    """Put the finished runs on several folds together.

    Args:
        runs: the folder of each fold's run.

    Raises:
        OutputError: a run is not finished.
        DatasetError: a file of a run can't be read, the runs differ in their categories, or a scan is in two folds.
    """
    if missing := unfinished(runs):
        folds = ", ".join(map(str, missing))
        raise OutputError(f"the runs on {len(missing)} of {len(runs)} folds are not finished: {folds}")
    configs = {fold: _read_json(folder / "config.json") for fold, folder in runs.items()}
    categories = {tuple(config["categories"]) for config in configs.values()}
    if len(categories) > 1:
        raise DatasetError(f"the runs differ in their categories: {' and '.join(map(str, sorted(categories)))}")
    (found,) = categories
    tables = {task: table for task in TASKS if (table := _out_of_fold(task, runs)) is not None}
    pooled = {task: score_table(table, found)[TASKS.index(task)] for task, table in tables.items()}
    rows = [row for fold, folder in sorted(runs.items()) for row in _rows(fold, _read_json(folder / SUMMARY))]
    return CrossValidation(found, tables, pooled, pd.DataFrame(rows))


def save(found: CrossValidation, folder: Path) -> None:
    """Write `out-of-fold-<task>.csv` and `folds.csv`.

    Raises:
        OutputError: the folder can't be written.
    """
    for task, table in found.tables.items():
        save_predictions(table, folder / f"out-of-fold-{task}.csv")
    save_predictions(found.folds, folder / FOLD_SCORES)


def _out_of_fold(task: str, runs: Mapping[int, Path]) -> pd.DataFrame | None:
    """The validation tables of all folds in one; None where no fold could be scored for the task."""
    files = {fold: folder / f"validation-{task}.csv" for fold, folder in sorted(runs.items())}
    parts = [_read_table(file).assign(fold=fold) for fold, file in files.items() if file.exists()]
    if not parts:
        return None
    table = pd.concat(parts, ignore_index=True)
    if len(twice := table.loc[table["scan"].duplicated(), "scan"]):
        raise DatasetError(f"{twice.iloc[0]} is in two folds: the runs were made with different scan tables")
    return table


def _rows(fold: int, summary: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for task, scores in summary["tasks"].items():
        best, last = scores["best"] or {}, scores["last"] or {}
        rows.append(
            {
                "fold": fold,
                "task": task,
                "scans": last.get("scans", 0),
                "macro_f1": best.get("macro_f1"),
                "best_epoch": scores["best_epoch"],
                "epochs": summary["epochs"],
                "last_macro_f1": last.get("macro_f1"),
            }
        )
    return rows


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} can't be read: {error}") from error


def _read_table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} can't be read as a prediction table: {error}") from error
