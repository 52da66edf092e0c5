"""Finished trials of a search, and their table."""

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
    """A finished trial.

    Attributes:
        number: from 1.
        state: `complete`, `pruned` or `failed`.
        options: of the training.
        epochs: number of trained epochs.
        score: the objective after the last epoch; None unless complete.
        presence_f1: after the last trained epoch; None if there was none.
        severity_f1: likewise.
        error: why the trial failed.
        searched: names of the searched options.
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
        """The options of the trial; `base` are the options of the search."""
        values = {name: self.options[name] for name in ("dropout", *self.searched)}  # it depends on the architecture
        kinds = {"architecture": Architecture, "size": Size}
        return replace(base, **values | {name: kinds[name](values[name]) for name in kinds if name in values})

    def row(self) -> dict[str, Any]:
        """The trial's row of the table."""
        named = ("number", "state", "score", "presence_f1", "severity_f1", "epochs")
        values = {name: getattr(self, name) for name in named}
        return {**values, **{name: self.options[name] for name in self.searched}, "error": self.error}


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest score, the first if several are equal; None if none is complete."""
    complete = [trial for trial in trials if trial.score is not None]
    return max(complete, key=lambda trial: trial.score or 0.0, default=None)


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row for each trial."""
    return pd.DataFrame([trial.row() for trial in trials])


def from_optuna(found: FrozenTrial, searched: Iterable[str]) -> Trial:
    """Convert a finished trial of Optuna; `searched` are the names of the searched options."""
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
