"""Check values read from JSON files, which others may have written.

A *check* takes a value and returns it, perhaps converted, or raises a `WrongValueError` that describes allowed values.
`check_fields` applies a check to each field of an object, and names the field that is wrong.
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
    """A value is not allowed; `str(error)` has the value and what it must be."""


@dataclass(frozen=True)
class Field:
    """A field of an object: the check of its value, and whether it is required."""

    check: Check
    required: bool = True


def brief(value: Any) -> str:
    """A value for display in a sentence: on one line, printable, short."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer with too many digits; deeply nested values
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: the file can't be read.
        ValueError: its content is not a JSON object.
    """
    return parse_object(file.read_text(encoding="utf-8"))


def parse(text: str) -> Any:
    """The JSON value of a text.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
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
    """The JSON object of a text.

    Raises:
        ValueError: the text is not a JSON object.
    """
    found = parse(text)
    if not isinstance(found, dict):
        raise WrongValueError(f"it must hold a JSON object, not {brief(found)}")
    return found


def check_fields(values: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Check the fields of an object. Fields without a check are returned unchanged.

    Raises:
        WrongValueError: the value is not an object, or a field is missing or has a wrong value.
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
    """A number within bounds; with `nan`, also NaN."""
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
    """Any string, for example a file name."""
    if not isinstance(value, str):
        raise _refuse(value, "a text")
    return value


def plain(value: Any) -> Any:
    """A string, a number, a truth value or null."""
    if isinstance(value, (dict, list)):
        raise _refuse(value, "a single value")
    return value


def one_of(values: Collection[Any]) -> Check:
    """One of the given values; a member of an enumeration is given by its value."""
    in_words = ", ".join(json.dumps(list(value) if isinstance(value, tuple) else value) for value in values)

    def check(value: Any) -> Any:
        given = tuple(value) if isinstance(value, list) else value
        for known in values:
            if type(given) in (type(known), str if isinstance(known, StrEnum) else None) and given == known:
                return known
        raise _refuse(value, f"one of {in_words}")

    return check


def optional(check: Check) -> Check:
    """A value that another check allows, or null."""
    return lambda value: None if value is None else check(value)


def listed(check: Check, length: int | None = None) -> Check:
    """A list, optionally of a fixed length, of values that another check allows. It is converted to a tuple."""

    def check_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
            raise _refuse(value, "a list" if length is None else f"a list of {length}")
        try:
            return tuple(check(item) for item in value)
        except WrongValueError as error:
            raise WrongValueError(f"holds an item that {error}") from None

    return check_list


def mapping(check: Check | None = None) -> Check:
    """An object with values that another check allows, or with any values."""

    def check_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _refuse(value, "an object")
        try:
            return {name: item if check is None else check(item) for name, item in value.items()}
        except WrongValueError as error:
            raise WrongValueError(f"holds an item that {error}") from None

    return check_mapping
