"""What a search draws from: a range of numbers, or some choices."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Numbers:
    """A range of numbers, both ends included; `log` to search orders of magnitude evenly."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Any, name: str) -> float:
        """A number drawn by an Optuna trial, of three digits, so that it can be read and typed."""
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return min(max(float(f"{drawn:.3g}"), self.low), self.high)

    def narrowed(self, text: str) -> "Numbers":
        """The range that `LOW:HIGH` says.

        Raises:
            ValueError: it is no range.
        """
        low, high = map(float, text.split(":"))
        if not low < high:
            raise ValueError
        return replace(self, low=low, high=high)

    def ends(self) -> tuple[Any, ...]:
        """Values that must be fit to be trained with."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}"


@dataclass(frozen=True)
class Choices:
    """Some of the members of an enumeration."""

    values: tuple[StrEnum, ...]

    def suggest(self, trial: Any, name: str) -> StrEnum:
        """One of them, drawn by an Optuna trial."""
        return type(self.values[0])(trial.suggest_categorical(name, [value.value for value in self.values]))

    def narrowed(self, text: str) -> "Choices":
        """The choices that `A,B` says.

        Raises:
            ValueError: one of them is none.
        """
        return Choices(tuple(dict.fromkeys(type(self.values[0])(word.strip()) for word in text.split(","))))

    def ends(self) -> tuple[Any, ...]:
        """Values that must be fit to be trained with."""
        return self.values

    def __str__(self) -> str:
        return ",".join(self.values)


Dimension = Numbers | Choices
