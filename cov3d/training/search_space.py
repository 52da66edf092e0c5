"""The search space of `cov3d tune`.

The ranges are declared with the options. They are slightly wider than the paper's (Table 5), because better values may
lie outside. This module is quick to import, as the help shows the ranges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from cov3d.errors import Cov3dError
from cov3d.training.dimensions import Dimension, Numbers
from cov3d.training.hyper_parameters import hyper_parameters
from cov3d.training.options import TrainingOptions


class Objective(StrEnum):
    """The macro F1 to maximise."""

    PRESENCE = "presence"
    SEVERITY = "severity"
    MEAN = "mean"

    def of(self, row: Mapping[str, float]) -> float:
        """The objective's value in a row of a run's history."""
        scores = {Objective.PRESENCE: row["presence_f1"], Objective.SEVERITY: row["severity_f1"]}
        return scores[self] if self in scores else sum(scores.values()) / len(scores)


RANGES: dict[str, Dimension] = {
    name: parameter.search
    for name, (_, parameter) in hyper_parameters(TrainingOptions).items()
    if parameter.search is not None
}
"""By the names of `TrainingOptions`."""

BY_DEFAULT = tuple(name for name in RANGES if name not in ("size", "architecture"))
"""Without size, which needs a store for each, and architecture, which needs weights for each."""


def option(name: str) -> str:
    """The option's name on the command line."""
    return name.replace("_", "-")


def parse(searches: Sequence[str]) -> dict[str, Dimension]:
    """The search space from `NAME`, `NAME=LOW:HIGH` and `NAME=A,B`.

    Raises:
        Cov3dError: a text has another form.
    """
    space: dict[str, Dimension] = {}
    for text in searches:
        word, equals, narrower = text.partition("=")
        name = word.strip().replace("-", "_")
        if name not in RANGES:
            raise Cov3dError(f"--search must be one of {', '.join(map(option, RANGES))}, not {word!r}")
        if name in space:
            raise Cov3dError(f"--search {word} is given twice: give it once")
        try:
            space[name] = RANGES[name].narrowed(narrower) if equals else RANGES[name]
            for end in space[name].ends():
                TrainingOptions(**{name: end})
        except ValueError:
            what = "a range, low to high" if isinstance(RANGES[name], Numbers) else "a list of choices"
            raise Cov3dError(
                f"--search {text}: after {word}= give {what}, such as {word}={RANGES[name]}, not {narrower!r}"
            ) from None
    return space


def suggest(space: Mapping[str, Dimension], trial: Any, base: TrainingOptions) -> TrainingOptions:
    """The options of an Optuna trial: `base` with drawn values for `space`. A network without dropout draws none."""
    values: dict[str, Any] = {"architecture": base.architecture}
    if "architecture" in space:
        values["architecture"] = space["architecture"].suggest(trial, "architecture")
    if not values["architecture"].has_dropout:
        values["dropout"] = None
    for name, dimension in space.items():
        if name not in values:
            values[name] = dimension.suggest(trial, name)
    return replace(base, **values)
