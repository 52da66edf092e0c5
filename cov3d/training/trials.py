"""Trials of a search that have ended, and the table of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.options import TrainingOptions

_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        number: from 1.
        state: `complete`, `pruned` or `failed`.
        options: it was trained with.
        epochs: that it was trained for.
        score: the objective after the last epoch; None unless complete.
        presence_f1: after the last epoch that it came to; None if there was none.
        severity_f1: likewise.
        error: why it failed.
        searched: names of the options that were searched.
    """

    number: int
    state: str
    options: dict[str, Any]
    epochs: int = 0
    score: float | None = None
    presence_f1: float | None = None
    severity_f1: float | None = None
    error: str = ""
    searched: tuple[str, ...] = ()

    def trained_with(self, base: TrainingOptions) -> TrainingOptions:
        """The options of the trial, `base` being those of the search."""
        values = {name: self.options[name] for name in ("dropout", *self.searched)}  # it goes with the architecture
        kinds = {"architecture": Architecture, "size": Size}
        return replace(base, **values | {name: kinds[name](values[name]) for name in kinds if name in values})

    def row(self) -> dict[str, Any]:
        """The trial's row of the table."""
        named = ("number", "state", "score", "presence_f1", "severity_f1", "epochs")
        values = {name: getattr(self, name) for name in named}
        return {**values, **{name: self.options[name] for name in self.searched}, "error": self.error}


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest score, the first of equals; None if none is complete."""
    complete = [trial for trial in trials if trial.score is not None]
    return max(complete, key=lambda trial: trial.score or 0.0, default=None)


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """A row a trial."""
    return pd.DataFrame([trial.row() for trial in trials])


def of_optuna(found: FrozenTrial, searched: Iterable[str]) -> Trial:
    """What Optuna keeps of a trial that has ended, of which the options `searched` were sought."""
    last = found.user_attrs.get("last", {})
    return Trial(
        number=found.user_attrs["number"],
        state=_STATES[found.state],
        options=found.user_attrs["options"],
        epochs=int(last.get("epoch", 0)),
        score=found.value if found.state == TrialState.COMPLETE else None,
        presence_f1=last.get("presence_f1"),
        severity_f1=last.get("severity_f1"),
        error=found.user_attrs.get("error", ""),
        searched=tuple(searched),
    )
