"""Arguments of the API's functions as callers write them: a path or several, as text too; a choice by its word."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from cov3d.errors import Cov3dError

Choice = TypeVar("Choice", bound=StrEnum)


def paths_of(given: str | Path | Iterable[str | Path], what: str) -> list[Path]:
    """One path or several.

    Args:
        given: as the caller gave it.
        what: what they are, for the error.

    Raises:
        Cov3dError: there is none.
    """
    found = [Path(given)] if isinstance(given, str | Path) else [Path(path) for path in given]
    if not found:
        raise Cov3dError(f"give at least one {what}")
    return found


def choice(kind: type[Choice], given: str, name: str) -> Choice:
    """A choice by its word.

    Args:
        kind: of the choice.
        given: the word.
        name: of the argument, for the error.

    Raises:
        Cov3dError: there is no such choice.
    """
    if given not in list(kind):
        raise Cov3dError(f"{name} is one of {', '.join(kind)}, not {given!r}")
    return kind(given)
