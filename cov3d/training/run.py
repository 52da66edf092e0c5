"""A finished run."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from torch import nn

from cov3d.evaluation.metrics import TaskScore
from cov3d.training.callbacks import EpochResult


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it was written.
        model: the network after the last epoch; None if the run was finished before and it was not kept.
        best: result of the best epoch, by task; without tasks that could not be scored.
        history: one row for each epoch.
        resumed_after: number of epochs done before the run was interrupted.
        last: scores of the last epoch, by task.
    """

    folder: Path
    model: nn.Module | None
    best: dict[str, EpochResult]
    history: pd.DataFrame
    resumed_after: int = 0
    last: dict[str, TaskScore] = field(default_factory=dict)
