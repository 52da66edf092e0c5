"""A run that is finished → what its training returned, read from its folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cov3d.errors import PredictionsError
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.predictions import load_predictions, probability_columns, score_table
from cov3d.labels import TASKS
from cov3d.run_files import HISTORY, read_summary, validation_table
from cov3d.training.callbacks import EpochResult
from cov3d.training.run import Run


def finished_run(folder: Path) -> Run:
    """The run in a folder, without its network of the last epoch, which is not kept.

    Raises:
        PredictionsError: a file of the run can't be read.
    """
    try:
        history = pd.read_csv(folder / HISTORY)
        tasks = read_summary(folder)["tasks"]
        chosen = {task: tasks[task]["best_epoch"] for task in TASKS if task in tasks}
        last = {task: _score(tasks[task]["last"]) for task in chosen if tasks[task]["last"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise PredictionsError(f"the run in {folder} can't be read: {error}") from error
    best = {task: _best(folder, task, epoch) for task, epoch in chosen.items() if epoch is not None}
    return Run(folder, None, best, history, resumed_after=len(history), last=last)


def _best(folder: Path, task: str, epoch: int) -> EpochResult:
    table, categories = load_predictions(folder / validation_table(task))
    probabilities = table[probability_columns(categories)].to_numpy(dtype=np.float32)
    scores = dict(zip(TASKS, score_table(table, categories), strict=True))
    return EpochResult(epoch, probabilities, table, scores)


def _score(values: dict[str, Any]) -> TaskScore:
    """A score as `TaskScore.as_dict` wrote it."""
    f1 = dict(values["f1"])
    confusion = np.array(values["confusion"], dtype=np.int64)
    return TaskScore(tuple(f1), int(values["scans"]), values["macro_f1"], tuple(f1.values()), confusion)
