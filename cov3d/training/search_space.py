"""What `cov3d tune` may search, and over which ranges.

The ranges go a little past what the paper tried (Table 5): it says where it found good values, not where they end.
Light to import: the command line shows the ranges in its help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.preprocess.sizes import Size
from cov3d.training.options import TrainingOptions


class Objective(StrEnum):
    """Whose macro F1 is sought."""

    PRESENCE = "presence"
    SEVERITY = "severity"
    MEAN = "mean"

    def of(self, row: Mapping[str, float]) -> float:
        """The score of a row of a run's history."""
        scores = {Objective.PRESENCE: row["presence_f1"], Objective.SEVERITY: row["severity_f1"]}
        return scores[self] if self in scores else sum(scores.values()) / len(scores)


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

RANGES: dict[str, Dimension] = {
    "dropout": Numbers(0.0, 0.6),
    "emd_weight": Numbers(0.0, 0.9),
    "gamma": Numbers(0.0, 4.0),
    "brightness": Numbers(0.0, 0.1),
    "contrast": Numbers(0.0, 0.1),
    "learning_rate": Numbers(1e-5, 1e-3, log=True),
    "size": Choices((Size.SMALL, Size.MEDIUM, Size.LARGE)),
    "architecture": Choices(tuple(Architecture)),
}
"""By the names of `TrainingOptions`."""

BY_DEFAULT = tuple(name for name in RANGES if name not in ("size", "architecture"))
"""Neither size, which needs a store of each, nor architecture, which needs weights of each."""


def option(name: str) -> str:
    """A name as the command line has it."""
    return name.replace("_", "-")


def parse(searches: Sequence[str]) -> dict[str, Dimension]:
    """What to search, from `NAME`, `NAME=LOW:HIGH` and `NAME=A,B`.

    Raises:
        Cov3dError: one of them is something else.
    """
    space: dict[str, Dimension] = {}
    for text in searches:
        word, equals, narrower = text.partition("=")
        name = word.strip().replace("-", "_")
        if name not in RANGES:
            raise Cov3dError(f"--search is one of {', '.join(map(option, RANGES))}, not {word!r}")
        if name in space:
            raise Cov3dError(f"--search {word} is given twice: give it once")
        try:
            space[name] = RANGES[name].narrowed(narrower) if equals else RANGES[name]
            for end in space[name].ends():
                TrainingOptions(**{name: end})
        except ValueError:
            like = "a range, low to high" if isinstance(RANGES[name], Numbers) else "some choices"
            raise Cov3dError(
                f"--search {text}: after {word}= comes {like}, such as {word}={RANGES[name]}, not {narrower!r}"
            ) from None
    return space


def suggest(space: Mapping[str, Dimension], trial: Any, base: TrainingOptions) -> TrainingOptions:
    """The options of an Optuna trial: `base`, but for what is searched. A network without dropout draws none."""
    values: dict[str, Any] = {"architecture": base.architecture}
    if "architecture" in space:
        values["architecture"] = space["architecture"].suggest(trial, "architecture")
    if not values["architecture"].has_dropout:
        values["dropout"] = None
    for name, dimension in space.items():
        if name not in values:
            values[name] = dimension.suggest(trial, name)
    return replace(base, **values)
