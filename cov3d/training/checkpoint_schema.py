"""Types, ranges and allowed values of the fields of a checkpoint's metadata."""

from collections.abc import Callable
from typing import Any

from cov3d.datasets.folds import FOLDS
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES, TASKS
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.values import (
    Field,
    WrongValueError,
    brief,
    check_fields,
    integer,
    listed,
    mapping,
    number,
    one_of,
    optional,
    string,
    text,
)

LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 0.01, 100.0
"""Fitted temperatures are far inside this range. Outside, probabilities are no longer finite."""


def _range(check: Callable[[Any], float]) -> Callable[[Any], tuple[float, float]]:
    def check_range(value: Any) -> tuple[float, float]:
        low, high = listed(check, length=2)(value)
        if low > high:
            raise WrongValueError(f"is {brief(value)}, but must be the smallest value, then the largest")
        return low, high

    return check_range


def _settings(value: Any) -> dict[str, Any]:
    return check_fields(value, {"hash": Field(text(64))})


temperature = number(LEAST_TEMPERATURE, GREATEST_TEMPERATURE)
ASSUMED = ("orientation", "window")
"""What readers may have to assume about a scan; columns of a store's manifest."""
_ARGUMENTS = {"dropout": Field(number(0, 1), required=False)}
_FIELDS = {
    "architecture": Field(one_of(list(Architecture))),
    "model": Field(lambda value: check_fields(value, _ARGUMENTS)),
    "size": Field(one_of(list(Size))),
    "preprocessing": Field(_settings),
    "categories": Field(one_of((CATEGORIES, STOIC_CATEGORIES))),
    "task": Field(one_of(TASKS)),
    "fold": Field(integer(0, FOLDS - 1)),
    "epoch": Field(integer(1)),
    "score": Field(number(0, 1, nan=True)),
    "seed": Field(integer(0)),
    "trained_on": Field(listed(text(64)), required=False),
    "lung_share": Field(optional(_range(number(0, 1))), required=False),
    "lung_ml": Field(optional(_range(number(0, 1e6))), required=False),
    "assumed": Field(optional(listed(one_of(ASSUMED))), required=False),
    "is_synthetic": Field(optional(one_of((True, False))), required=False),
    "score_interval": Field(optional(_range(number(0, 1))), required=False),
    "scored_scans": Field(optional(integer(0)), required=False),
    "experiment": Field(optional(integer(1)), required=False),
    "temperature": Field(optional(temperature), required=False),
    "started_from": Field(mapping(string), required=False),
    "options": Field(mapping(), required=False),
    "versions": Field(mapping(text(200)), required=False),
}


def check_metadata(values: dict[str, Any]) -> dict[str, Any]:
    """The checked values of a checkpoint's metadata, as arguments of `CheckpointInfo`.

    Raises:
        WrongValueError: a field is missing or has a wrong value; the message names it.
    """
    found = check_fields(values, _FIELDS)
    architecture = found["architecture"]
    allowed = set(_ARGUMENTS) if architecture.has_dropout else set()
    if unknown := sorted(found["model"].keys() - allowed):
        raise WrongValueError(f"model has the argument {brief(unknown[0])}, which {architecture} does not take")
    return found
