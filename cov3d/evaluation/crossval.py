"""The runs of one configuration on all folds → out-of-fold tables, scores as in Table 5, and a temperature."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cov3d.errors import DatasetError, OutputError
from cov3d.evaluation import scores
from cov3d.evaluation.measures import CALIBRATION_ERROR, MACRO_F1
from cov3d.evaluation.predictions import load_predictions, prediction_table, probability_columns, save_predictions
from cov3d.evaluation.scores import TaskEvaluation, evaluate_task
from cov3d.evaluation.summary import SELECTED
from cov3d.evaluation.temperature import Temperature, fit_temperature, scale
from cov3d.labels import TASKS
from cov3d.run_files import (
    CENTRES,
    CONFIG,
    ORIGIN,
    SCORE_PICTURES,
    SCORE_TABLE,
    SCORES,
    SUMMARY,
    out_of_fold_table,
    read_config,
    read_summary,
    validation_table,
)

FOLD_SCORES = "folds.csv"
RESULT_FILES = (
    *(out_of_fold_table(task) for task in TASKS),
    *(FOLD_SCORES, SCORES, SCORE_TABLE, CENTRES, ORIGIN),
    *SCORE_PICTURES,
)


@dataclass(frozen=True)
class Calibration:
    """A task's temperature and its effect, estimated with temperatures that were fitted on other scans.

    Attributes:
        temperature: fitted on all out-of-fold predictions; for predictions of new scans.
        by_fold: by fold, the temperature fitted on the other folds.
        error_before: calibration error of the out-of-fold predictions without a temperature.
        error_after: calibration error with each fold scaled by the temperature of the other folds.
        f1_before: macro F1 of the out-of-fold predictions without a temperature.
        f1_after: macro F1 with each fold scaled by the temperature of the other folds. It may differ: a temperature
            can move the probability of non-COVID across 0.5.
    """

    temperature: Temperature
    by_fold: dict[int, float]
    error_before: float | None
    error_after: float | None
    f1_before: float | None
    f1_after: float | None

    @property
    def harm(self) -> str:
        """Why the temperature should not be used; empty if it may be used."""
        if self.temperature.at_bound:
            return f"it is at a bound of its range: {self.temperature.why_at_bound}"
        if self.f1_before is not None and self.f1_after is not None and self.f1_after < self.f1_before:
            return f"it would lower macro F1 from {self.f1_before:.3f} to {self.f1_after:.3f}"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "temperature": self.temperature.value,
            "scans": self.temperature.scans,
            "at_bound": self.temperature.at_bound,
            "temperature_by_fold_without_it": self.by_fold,
            "calibration_error": self.error_before,
            "calibration_error_scaled_by_the_other_folds": self.error_after,
            "macro_f1": self.f1_before,
            "macro_f1_scaled_by_the_other_folds": self.f1_after,
        }


@dataclass(frozen=True)
class CrossValidation:
    """The results of the runs on all folds.

    Attributes:
        categories: categories of the networks.
        tables: by task, the out-of-fold prediction table with labels and `fold`, from the best epoch of each fold.
        pooled: by task, every score of that table.
        calibration: by task, the temperature.
        folds: a row for each fold and task: `fold, task, scans, macro_f1, best_epoch, epochs, last_macro_f1`.
    """

    categories: tuple[str, ...]
    tables: dict[str, pd.DataFrame]
    pooled: dict[str, TaskEvaluation]
    calibration: dict[str, Calibration]
    folds: pd.DataFrame

    def mean_and_deviation(self, task: str, score: str = "macro_f1") -> tuple[float, float]:
        """Mean and standard deviation (n − 1) of a task's score over the folds that have a score."""
        values = self.folds.loc[self.folds["task"] == task, score].astype(float).dropna()
        return float(values.mean()), float(values.std())


def is_finished(run: Path) -> bool:
    """Whether a run is finished: its summary is written last."""
    return (run / SUMMARY).exists()


def unfinished(runs: Mapping[int, Path]) -> list[int]:
    """The folds whose run is not finished."""
    return [fold for fold, folder in sorted(runs.items()) if not is_finished(folder)]


def collect(runs: Mapping[int, Path], seed: int = 0) -> CrossValidation:
    """Collect the finished runs on several folds.

    Args:
        runs: the folder of each fold's run.
        seed: random seed of the intervals.

    Raises:
        OutputError: a run is not finished.
        PredictionsError: a table of a run can't be read.
        DatasetError: another file can't be read, the runs have different categories, or a scan is in two folds.
    """
    if missing := unfinished(runs):
        folds = ", ".join(map(str, missing))
        raise OutputError(f"the runs on {len(missing)} of {len(runs)} folds are not finished: {folds}")
    categories = {_categories(folder) for folder in runs.values()}
    if len(categories) > 1:
        raise DatasetError(f"the runs have different categories: {' and '.join(map(str, sorted(categories)))}")
    (found,) = categories
    rows = [row for fold, folder in sorted(runs.items()) for row in _rows(fold, folder)]
    _check_complete(rows, runs)
    tables = {task: table for task in TASKS if (table := _out_of_fold(task, runs)) is not None}
    pooled = {task: evaluate_task(table, found, task, seed=seed) for task, table in tables.items()}
    calibration = {task: _calibrate(task, table, found, pooled[task]) for task, table in tables.items()}
    return CrossValidation(found, tables, pooled, calibration, pd.DataFrame(rows))


def save(found: CrossValidation, folder: Path, seed: int = 0) -> None:
    """Write `out-of-fold-<task>.csv`, `folds.csv`, `scores.json` and `scores.csv`.

    Raises:
        OutputError: the folder can't be written.
    """
    for task, table in found.tables.items():
        save_predictions(table, folder / f"out-of-fold-{task}.csv")
    save_predictions(found.folds, folder / FOLD_SCORES)
    about = {
        "best_is": f"{SELECTED} in every fold: the best macro F1 of all epochs; expect lower scores on new scans",
        "mean_and_deviation": {
            task: [None if math.isnan(value) else value for value in found.mean_and_deviation(task)]
            for task in found.pooled
        },
        "calibration": {task: calibration.as_dict() for task, calibration in found.calibration.items()},
        "seed": seed,
    }
    scores.save_scores(found.pooled, folder, about)


def _out_of_fold(task: str, runs: Mapping[int, Path]) -> pd.DataFrame | None:
    """The validation tables of all folds in one; None if no fold could be scored for the task."""
    files = {fold: folder / validation_table(task) for fold, folder in sorted(runs.items())}
    there = {file: fold for fold, file in files.items() if file.exists()}
    parts = [load_predictions(file)[0].assign(fold=fold) for file, fold in there.items()]
    if not parts:
        return None
    for part, file in zip(parts, there, strict=True):
        if "label" not in part:
            raise DatasetError(f"{file} has no labels: train that fold again, with --overwrite")
    table = pd.concat(parts, ignore_index=True)
    if len(twice := table.loc[table["scan"].duplicated(), "scan"]):
        raise DatasetError(f"{twice.iloc[0]} is in two folds: the runs were made with different scan tables")
    return table


def _calibrate(task: str, table: pd.DataFrame, categories: tuple[str, ...], pooled: TaskEvaluation) -> Calibration:
    by_fold: dict[int, float] = {}
    parts = []
    columns = probability_columns(categories)
    for fold, part in table.groupby("fold"):
        others = table[table["fold"] != fold]
        if others.empty:
            continue
        by_fold[int(str(fold))] = temperature = fit_temperature(others, categories).value
        scaled = scale(part[columns].to_numpy(dtype=np.float64), temperature)
        parts.append(prediction_table(list(part["scan"]), scaled, categories, labels=list(part["label"])))
    after = evaluate_task(pd.concat(parts), categories, task) if parts else None
    scores = [
        None if evaluation is None or (score := evaluation.score(name)) is None else score.value
        for name in (CALIBRATION_ERROR, MACRO_F1)
        for evaluation in (pooled, after)
    ]
    return Calibration(fit_temperature(table, categories), by_fold, *scores)


def _check_complete(rows: Sequence[Mapping[str, Any]], runs: Mapping[int, Path]) -> None:
    """Check that each fold with a score has its predictions, so that no fold is missing from the pooled score."""
    for row in rows:
        file = runs[row["fold"]] / f"validation-{row['task']}.csv"
        if row["macro_f1"] is not None and not file.is_file():
            raise DatasetError(f"{file} is missing: train fold {row['fold']} again, with --overwrite")


def _rows(fold: int, folder: Path) -> list[dict[str, Any]]:
    """The scores in the summary of a fold's run, a row for each task."""
    rows = []
    with _explained(folder / SUMMARY):
        summary = read_summary(folder)
        for task, found in summary["tasks"].items():
            best, last = found["best"] or {}, found["last"] or {}
            rows.append(
                {
                    "fold": fold,
                    "task": task,
                    "scans": last.get("scans", 0),
                    "macro_f1": best.get("macro_f1"),
                    "best_epoch": found["best_epoch"],
                    "epochs": summary["epochs"],
                    "last_macro_f1": last.get("macro_f1"),
                }
            )
    return rows


def _categories(run: Path) -> tuple[str, ...]:
    with _explained(run / CONFIG):
        config = read_config(run)
        if "categories" not in config:
            raise ValueError("categories is missing")
    return config["categories"]


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn errors about a file of a run into a sentence that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file} can't be read as a file of a run ({error}): train the fold again, with --overwrite"
        ) from error
