"""Names of the files of runs and of results; what a run's `config.json` and `summary.json` say, read and checked."""

from pathlib import Path
from typing import Any

from cov3d.errors import PredictionsError
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES
from cov3d.values import Field, WrongValueError, check_fields, integer, mapping, number, one_of, optional, read_object

CONFIG, SUMMARY, SCANS = "config.json", "summary.json", "fold.csv"
HISTORY, CURVES = "history.csv", "curves.png"
PREDICTIONS = "predictions.csv"
"""A prediction table in a folder of results."""
REVIEW, FACTS, PREDICTION_PAGE, MAPS = "review.csv", "prediction.json", "infer.html", "maps"
"""Beside it: predictions to review, what they depend on, the page, and the folder of evidence maps."""
SCORES, SCORE_TABLE, CENTRES = "scores.json", "scores.csv", "centres.csv"
CONFUSION_PICTURE, CURVE_PICTURE, RELIABILITY_PICTURE = "confusion.png", "curves.png", "reliability.png"
SCORE_PICTURES = (CONFUSION_PICTURE, CURVE_PICTURE, RELIABILITY_PICTURE)
"""The pictures of the scores of predictions."""
ORIGIN = "origin.json"
"""The networks that predicted a table in the same folder, and whether they were trained on its scans."""
VALIDATION, OUT_OF_FOLD = "validation-", "out-of-fold-"
"""Prefixes of the prediction tables of a run and of a cross-validation; the task follows."""

_OPTIONS = {"fold": Field(integer(0)), "experiment": Field(optional(integer(1)), required=False)}
_CONFIG = {
    "options": Field(lambda value: check_fields(value, _OPTIONS)),
    "categories": Field(one_of((CATEGORIES, STOIC_CATEGORIES)), required=False),
}
_SCORE = {"macro_f1": Field(optional(number(0, 1))), "scans": Field(integer(0), required=False)}
_score = optional(lambda value: check_fields(value, _SCORE))
_TASK = {"best_epoch": Field(optional(integer(1))), "best": Field(_score), "last": Field(_score)}


def _tasks(value: Any) -> dict[str, Any]:
    if not value:
        raise WrongValueError("has no tasks")
    return mapping(lambda task: check_fields(task, _TASK))(value)


_SUMMARY = {"epochs": Field(integer(1)), "tasks": Field(_tasks)}


def read_config(run: Path) -> dict[str, Any]:
    """The content of a run's `config.json`; its `options` have a `fold`.

    Raises:
        OSError: the file can't be read.
        ValueError: a field is missing or has a wrong value; the message names it.
    """
    return check_fields(read_object(run / CONFIG), _CONFIG)


def read_summary(run: Path) -> dict[str, Any]:
    """The content of a finished run's `summary.json`: `epochs`, and `tasks` with `best_epoch`, `best` and `last`.

    Raises:
        OSError: the file can't be read.
        ValueError: a field is missing or has a wrong value; the message names it.
    """
    return check_fields(read_object(run / SUMMARY), _SUMMARY)


def validation_table(task: str) -> str:
    """The name of a run's prediction table of its fold, at the best epoch for a task."""
    return f"{VALIDATION}{task}.csv"


def out_of_fold_table(task: str) -> str:
    """The name of a cross-validation's prediction table for a task."""
    return f"{OUT_OF_FOLD}{task}.csv"


def confusion_table(task: str) -> str:
    """The name of the confusion matrix of a task, beside the predictions that it counts."""
    return f"confusion-{task}.csv"


def checkpoint_name(task: str) -> str:
    """The name of a run's checkpoint for a task."""
    return f"{task}.safetensors"


def runs_below(folder: Path) -> list[Path]:
    """The folders of runs in a folder and its subfolders, sorted."""
    return sorted(config.parent for depth in ("*", "*/*") for config in folder.glob(f"{depth}/{CONFIG}"))


def is_run(folder: Path) -> bool:
    """Whether a folder is the folder of a run."""
    return (folder / CONFIG).is_file()


def run_options(run: Path) -> dict[str, Any]:
    """The options of a run.

    Raises:
        PredictionsError: its `config.json` can't be read.
    """
    try:
        return {"experiment": None, **read_config(run)["options"]}
    except (OSError, ValueError) as error:
        raise PredictionsError(f"the options of the run in {run / CONFIG} can't be read: {error}") from error
