"""The JSON files of a run's folder, read and checked: `config.json` and `summary.json`."""

from pathlib import Path
from typing import Any

from cov3d.labels import CATEGORIES, STOIC_CATEGORIES
from cov3d.values import Field, WrongValueError, check_fields, integer, mapping, number, one_of, optional, read_object

CONFIG, SUMMARY = "config.json", "summary.json"
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
        raise WrongValueError("has no task in it")
    return mapping(lambda task: check_fields(task, _TASK))(value)


_SUMMARY = {"epochs": Field(integer(1)), "tasks": Field(_tasks)}


def read_config(run: Path) -> dict[str, Any]:
    """What a run says of itself; its `options` have a `fold`.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not as `cov3d train` writes it; the sentence names the field.
    """
    return check_fields(read_object(run / CONFIG), _CONFIG)


def read_summary(run: Path) -> dict[str, Any]:
    """How a finished run chose its epochs: `epochs`, and `tasks` with `best_epoch`, `best` and `last` of each.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not as `cov3d train` writes it; the sentence names the field.
    """
    return check_fields(read_object(run / SUMMARY), _SUMMARY)
