"""Dimensions of a hyper-parameter search: a range of numbers, or a list of choices."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Numbers:
    """A range of numbers, both ends included; `log` samples orders of magnitude evenly."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Any, name: str) -> float:
        """A number drawn by an Optuna trial, rounded to three digits so that it can be read and typed."""
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return min(max(float(f"{drawn:.3g}"), self.low), self.high)

    def narrowed(self, text: str) -> "Numbers":
        """The range given as `LOW:HIGH`.

        Raises:
            ValueError: the text is not a range.
        """
        low, high = map(float, text.split(":"))
        if not low < high:
            raise ValueError
        return replace(self, low=low, high=high)

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid options."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}"


@dataclass(frozen=True)
class Choices:
    """A list of members of an enumeration."""

    values: tuple[StrEnum, ...]

    def suggest(self, trial: Any, name: str) -> StrEnum:
        """A choice drawn by an Optuna trial."""
        return type(self.values[0])(trial.suggest_categorical(name, [value.value for value in self.values]))

    def narrowed(self, text: str) -> "Choices":
        """The choices given as `A,B`.

        Raises:
            ValueError: one is not a member of the enumeration.
        """
        return Choices(tuple(dict.fromkeys(type(self.values[0])(word.strip()) for word in text.split(","))))

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid options."""
        return self.values

    def __str__(self) -> str:
        return ",".join(self.values)


Dimension = Numbers | Choices
