"""What `cov3d tune` may search, and over which ranges.

The ranges stand with the options. They go a little past what the paper tried (Table 5), which says where it found good
values, not where they end. Light to import: the command line shows the ranges in its help.
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
    """Whose macro F1 is sought."""

    PRESENCE = "presence"
    SEVERITY = "severity"
    MEAN = "mean"

    def of(self, row: Mapping[str, float]) -> float:
        """The score of a row of a run's history."""
        scores = {Objective.PRESENCE: row["presence_f1"], Objective.SEVERITY: row["severity_f1"]}
        return scores[self] if self in scores else sum(scores.values()) / len(scores)


RANGES: dict[str, Dimension] = {
    name: said.search for name, (_, said) in hyper_parameters(TrainingOptions).items() if said.search is not None
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
