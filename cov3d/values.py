"""Values read from files, checked against what they may be: one mechanism for JSON that others may have written.

A *check* takes a value and gives it back, perhaps converted, or raises a `WrongValueError` that says what it must be.
`check_fields` applies one to each field of an object and names the field that is wrong.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

Check = Callable[[Any], Any]
_LONGEST, _DEEPEST = 60, 30


class WrongValueError(ValueError):
    """A value is not what it must be; `str(error)` says what it is and what it must be."""


@dataclass(frozen=True)
class Field:
    """A field of an object: what it may be, and whether it may be missing."""

    check: Check
    required: bool = True


def brief(value: Any) -> str:
    """A value as it is shown in a sentence: on one line, printable, not long."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of more digits than are ever converted; deeply nested
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return parse_object(file.read_text(encoding="utf-8"))


def parse(text: str) -> Any:
    """The JSON value that a text is.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    inside = [found]
    for _ in range(_DEEPEST):
        inside = [
            item
            for value in inside
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    if inside:
        raise ValueError("its values are nested too deeply")
    return found


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Raises:
        ValueError: it is something else.
    """
    found = parse(text)
    if not isinstance(found, dict):
        raise WrongValueError(f"it must hold a JSON object, not {brief(found)}")
    return found


def check_fields(values: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The values of the fields that are there, each checked; fields without a check stay as they are.

    Raises:
        WrongValueError: it is no object, a field is missing or has a value that it must not have.
    """
    found = dict(mapping()(values))
    for name, field in fields.items():
        if name not in found:
            if field.required:
                raise WrongValueError(f"{name} is missing")
            continue
        try:
            found[name] = field.check(found[name])
        except WrongValueError as error:
            raise WrongValueError(f"{name} {error}") from None
    return found


def _refuse(value: Any, must: str) -> WrongValueError:
    return WrongValueError(f"is {brief(value)}, but must be {must}")


def integer(low: int, high: int = 2**63 - 1) -> Check:
    """A whole number within bounds."""
    must = f"a whole number from {low} to {high}" if high < 2**63 - 1 else f"a whole number of {low} or more"

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(value, must)
        return value

    return check


def number(low: float, high: float, *, nan: bool = False) -> Check:
    """A number within bounds, or also NaN."""
    must = f"a number from {low:g} to {high:g}"

    def check(value: Any) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if nan and isinstance(value, float) and math.isnan(value):
                return math.nan
            if low <= value <= high:
                return value
        raise _refuse(value, must)

    return check


def text(longest: int = 1000) -> Check:
    """A printable string."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise _refuse(value, f"a printable text of at most {longest} characters")
        return value

    return check


def string(value: Any) -> str:
    """Any string, such as a file's name."""
    if not isinstance(value, str):
        raise _refuse(value, "a text")
    return value


def plain(value: Any) -> Any:
    """A string, a number, a truth value or null."""
    if isinstance(value, (dict, list)):
        raise _refuse(value, "a single value")
    return value


def one_of(values: Collection[Any]) -> Check:
    """One of some values: of an enumeration, a member by its value."""
    in_words = ", ".join(json.dumps(list(value) if isinstance(value, tuple) else value) for value in values)

    def check(value: Any) -> Any:
        given = tuple(value) if isinstance(value, list) else value
        for known in values:
            if type(given) in (type(known), str if isinstance(known, StrEnum) else None) and given == known:
                return known
        raise _refuse(value, f"one of {in_words}")

    return check


def optional(check: Check) -> Check:
    """What another check allows, or null."""
    return lambda value: None if value is None else check(value)


def listed(check: Check, length: int | None = None) -> Check:
    """A list, of a length, of what another check allows; it becomes a tuple."""

    def check_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
            raise _refuse(value, "a list" if length is None else f"a list of {length}")
        try:
            return tuple(check(item) for item in value)
        except WrongValueError as error:
            raise WrongValueError(f"holds an item that {error}") from None

    return check_list


def mapping(check: Check | None = None) -> Check:
    """An object with values that another check allows, or with any; its names are strings."""

    def check_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _refuse(value, "an object")
        try:
            return {name: item if check is None else check(item) for name, item in value.items()}
        except WrongValueError as error:
            raise WrongValueError(f"holds an item that {error}") from None

    return check_mapping
