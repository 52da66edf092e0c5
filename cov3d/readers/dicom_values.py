"""Values of DICOM elements. A value that is missing, damaged or against the rules becomes an empty or default value."""

from functools import cache, lru_cache
from typing import Any

import numpy as np

Vector = tuple[float, ...]

_PLAIN = ("CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US")
"""Value representations of which the bytes alone give the value, whatever else is in the file."""
_LONGEST_KEPT = 256
"""Bytes."""


@cache
def tag_of(name: str) -> Any:
    """The tag of an element's keyword. pydicom would look it up in every header."""
    from pydicom.tag import Tag

    return Tag(name)


def value_of(elements: Any, name: str) -> Any:
    """The value of an element; None where it is missing or can't be parsed."""
    tag = tag_of(name)
    try:
        element = elements.get_item(tag)
        if element is None:
            return None
        if element.is_raw and (element.VR or _vr_of(tag)) in _PLAIN and _is_kept(name, element.value):
            return _converted(element._replace(value_tell=0))
        return elements[tag].value
    except Exception:  # noqa: BLE001 (pydicom raises anything at all on damage)
        return None


def _is_kept(name: str, value: bytes | None) -> bool:
    """Whether an element may be kept in memory: none that names a patient, and none that is long because of damage."""
    return name != "PatientID" and value is not None and len(value) <= _LONGEST_KEPT


@cache
def _vr_of(tag: Any) -> str:
    """The value representation of an element by the standard; implicit files do not state it."""
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(tag)


@lru_cache(maxsize=4096)
def _converted(element: Any) -> Any:
    """The value of an element as read. Most elements are equal in all slices of a series, and are converted once."""
    from pydicom.dataelem import convert_raw_data_element

    return convert_raw_data_element(element).value


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
