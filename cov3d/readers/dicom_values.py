"""Values of DICOM elements. A value that is missing, damaged or against the rules becomes an empty or default value."""

from functools import cache
from typing import Any

import numpy as np

Vector = tuple[float, ...]


@cache
def tag_of(name: str) -> Any:
    """The tag of an element's keyword. pydicom would look it up in every header."""
    from pydicom.tag import Tag

    return Tag(name)


def value_of(elements: Any, name: str) -> Any:
    """The value of an element; None where it is missing or can't be parsed."""
    try:
        element = elements.get(tag_of(name))
        return None if element is None else element.value
    except Exception:  # noqa: BLE001 (pydicom raises anything at all on damage)
        return None


def text(elements: Any, name: str) -> str:
    """The value of an element as text; empty if missing."""
    value = value_of(elements, name)
    return "" if value is None else str(value).strip()


def whole(elements: Any, name: str) -> int | None:
    """The value of an element as an integer; None if missing."""
    try:
        return int(value_of(elements, name))
    except (TypeError, ValueError, OverflowError):
        return None


def strings(value: Any) -> tuple[str, ...]:
    """The parts of a value as text; empty for None."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def number(value: Any, default: float) -> float:
    """A value as a finite number, or the default. A decimal comma is read as a point."""
    try:
        found = _float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return found if np.isfinite(found) else default


def _float(value: Any) -> float:
    return float(value.replace(",", ".") if isinstance(value, str) else value)


def vector(value: Any, count: int) -> Vector:
    """A value as `count` finite numbers; empty where it is something else."""
    try:
        numbers = tuple(_float(part) for part in value)
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


def positive(numbers: Vector) -> Vector:
    """Numbers that are all greater than 0; empty otherwise."""
    return numbers if all(one > 0 for one in numbers) else ()


def directions(numbers: Vector) -> Vector:
    """Directions of a row and a column, scaled to unit length; empty unless they are at right angles."""
    if not numbers:
        return ()
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(row @ column) > 0.05 * lengths[0] * lengths[1]:
        return ()
    return (*map(float, row / lengths[0]), *map(float, column / lengths[1]))
