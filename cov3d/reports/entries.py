"""Read a run, a cross-validation or a folder of predictions for its part of the report's page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cov3d.errors import Cov3dError
from cov3d.evaluation.crossval import FOLD_SCORES
from cov3d.evaluation.predictions import load_predictions
from cov3d.evaluation.scores import TaskEvaluation, evaluate_task
from cov3d.evaluation.summary import Selection, selection_of_run
from cov3d.evaluation.task_predictions import TaskPredictions
from cov3d.inference.origin import networks_of
from cov3d.labels import TASKS
from cov3d.reports.sources import Source, SourceKind
from cov3d.run_files import (
    CONFIG,
    HISTORY,
    PREDICTIONS,
    SUMMARY,
    is_run,
    out_of_fold_table,
    read_config,
    validation_table,
)

MISTAKES = 8
"""Number of mistakes shown for each task."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction: the scan, its label, the prediction, and the probability that the network gave it."""

    scan: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class TaskEntry:
    """A task of an entry.

    Attributes:
        task: presence or severity.
        evaluation: all scores.
        selection: how the epoch was selected; None if unknown or not selected on these scans.
        mistakes: the worst mistakes, the worst first.
        n_mistakes: number of all mistakes.
    """

    task: str
    evaluation: TaskEvaluation
    selection: Selection | None
    mistakes: tuple[Mistake, ...]
    n_mistakes: int

    @property
    def last(self) -> float | None:
        """Macro F1 of the last epoch, if known."""
        return None if self.selection is None else self.selection.last.get(self.task)


@dataclass(frozen=True)
class ReportEntry:
    """A run, a cross-validation or a folder of predictions.

    Attributes:
        source: its folder.
        settings: names and values.
        tasks: by name; without tasks that could not be scored.
        histories: history of the run, by fold.
        folds: scores by fold, of a cross-validation.
        notes: problems and missing parts.
        files: all files in the folder, sorted.
    """

    source: Source
    settings: Mapping[str, str]
    tasks: Mapping[str, TaskEntry]
    histories: Mapping[int, pd.DataFrame]
    folds: pd.DataFrame | None = None
    notes: list[str] = field(default_factory=list)
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.source.folder.resolve().name

    @property
    def size(self) -> str:
        """The input size of its networks; empty if unknown."""
        return self.settings.get("size", "")


def read_entry(source: Source) -> ReportEntry:
    """Read all results in a folder. Files that can't be read are noted."""
    notes: list[str] = []
    try:
        runs = _runs_of(source)
    except Cov3dError as error:
        notes.append(str(error))
        runs = {}
    config = _config(next(iter(runs.values())), notes) if runs else {}
    settings = dict(_flat(config))
    if source.kind == SourceKind.RUN and not (source.folder / SUMMARY).is_file():
        notes.append("this run is not finished")
    tasks: dict[str, TaskEntry] = {}
    for task in TASKS:
        try:
            if entry := _read_task(source, task):
                tasks[task] = entry
            else:
                notes.append(f"{task}: there are no predictions of labelled scans")
        except Cov3dError as error:
            notes.append(f"{task}: {error}")
    if source.kind == SourceKind.CROSSVAL:
        settings.pop("fold", None)
    return ReportEntry(
        source,
        settings,
        tasks,
        histories={
            fold: table for fold, run in runs.items() if (table := _csv(run / HISTORY, _HISTORY, notes)) is not None
        },
        folds=_csv(source.folder / FOLD_SCORES, _FOLDS, notes) if source.kind == SourceKind.CROSSVAL else None,
        notes=notes,
        files=tuple(sorted(_files(source.folder))),
    )


def _runs_of(source: Source) -> dict[int, Path]:
    """The folders of a source's runs by fold."""
    if source.kind == SourceKind.RUN:
        return {_fold(source.folder): source.folder}
    if source.kind != SourceKind.CROSSVAL:
        return {}
    runs = [source.folder / network for network in networks_of(source.folder)]
    return {_fold(run): run for run in runs if is_run(run)}


def _fold(run: Path) -> int:
    try:
        return read_config(run)["options"]["fold"]
    except (OSError, ValueError):
        return 0


def _config(run: Path, notes: list[str]) -> dict[str, Any]:
    try:
        config = read_config(run)
        return {**config.pop("options"), **config}
    except (OSError, ValueError) as error:
        notes.append(f"{run / CONFIG} can't be read: {error}")
        return {}


def _flat(config: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Settings as a flat list. Nested settings get the names of both levels; of files only the name is kept."""
    found: list[tuple[str, str]] = []
    for name, value in config.items():
        words = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            found += _flat(value, f"{words}: ")
        elif name == "file":
            found.append((words, Path(str(value)).name))
        elif isinstance(value, list):
            found.append((words, ", ".join(map(_brief, value))))
        else:
            found.append((words, _brief(value)))
    return found


def _brief(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read_task(source: Source, task: str) -> TaskEntry | None:
    """The scores of a task; None if there are no predictions to score."""
    names = {SourceKind.RUN: validation_table(task), SourceKind.CROSSVAL: out_of_fold_table(task)}
    file = source.folder / names.get(source.kind, PREDICTIONS)
    if not file.is_file():
        return None
    table, categories = load_predictions(file)
    if "label" not in table:
        return None
    evaluation = evaluate_task(table, categories, task)
    if not len(evaluation.predictions):
        return None
    selection = selection_of_run(source.folder, task) if source.kind == SourceKind.RUN else None
    wrong = worst_mistakes(evaluation.predictions, dict(zip(table["scan"], table["label"], strict=True)))
    return TaskEntry(task, evaluation, selection, wrong[:MISTAKES], len(wrong))


def worst_mistakes(predictions: TaskPredictions, labels: Mapping[str, str]) -> tuple[Mistake, ...]:
    """The wrong predictions: those furthest from the label first, then those with the highest probability.

    Args:
        predictions: predictions of a task.
        labels: of the scans, which may be more detailed than the task's classes.
    """
    rows = [
        (-abs(int(true) - int(predicted)), -float(probabilities[predicted]), scan, int(predicted))
        for scan, true, predicted, probabilities in zip(
            predictions.scans, predictions.true, predictions.predicted, predictions.probabilities, strict=True
        )
        if true != predicted
    ]
    return tuple(
        Mistake(scan, labels[scan], predictions.classes[predicted], -p) for _, p, scan, predicted in sorted(rows)
    )


_HISTORY = ("epoch", "train_loss", "valid_loss", "presence_f1", "severity_f1")
_FOLDS = ("fold", "scans", "macro_f1", "best_epoch", "epochs", "last_macro_f1")


def _csv(file: Path, numbers: Sequence[str], notes: list[str]) -> pd.DataFrame | None:
    """A table with the numeric columns `numbers`; None if it is missing or can't be read, which is noted."""
    try:
        table = pd.read_csv(file)
        return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})
    except FileNotFoundError:
        return None
    except KeyError as error:
        notes.append(f"{file} can't be read: it has no column {error}")
    except (OSError, ValueError) as error:
        notes.append(f"{file} can't be read: {error}")
    return None


def _files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders, without hidden ones."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
