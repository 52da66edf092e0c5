"""Scores and counts → tables for the terminal."""

from collections.abc import Mapping

import pandas as pd
from rich import box
from rich.table import Table

from cov3d.labels import ALL_LABELS
from cov3d.training.metrics import TaskScore


def number(value: float | None) -> str:
    """A score as it is printed: three digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def score_table(scores: Mapping[str, TaskScore], title: str) -> Table:
    """Macro F1 of each task and the F1 of each of its classes."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("task", "class"):
        table.add_column(column)
    for column in ("F1", "scans"):
        table.add_column(column, justify="right")
    for task, score in scores.items():
        table.add_row(task, "[bold]macro", f"[bold]{number(score.macro_f1)}", str(score.scans))
        for index, name in enumerate(score.classes):
            f1 = number(score.f1[index] if score.scans else None)
            table.add_row("", name, f1, str(int(score.confusion[index].sum())))
        table.add_section()
    return table


def confusion_table(score: TaskScore, title: str) -> Table:
    """Counts of the true class (rows) by the called class (columns)."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("true \\ called")
    for name in score.classes:
        table.add_column(name, justify="right")
    for name, row in zip(score.classes, score.confusion, strict=True):
        table.add_row(name, *map(str, row))
    return table


def fold_table(scans: pd.DataFrame) -> Table:
    """Number of scans of each label in each fold, and of those without one."""
    table = Table(title="Scans by label and fold", title_justify="left", box=box.SIMPLE_HEAD)
    labelled = scans[scans["label"] != ""]
    folds = sorted(labelled["fold"].dropna().unique())
    table.add_column("label")
    for fold in folds:
        table.add_column(f"fold {fold}", justify="right")
    table.add_column("all", justify="right")
    for label in ALL_LABELS:
        rows = labelled[labelled["label"] == label]
        if len(rows):
            table.add_row(label, *(str(int((rows["fold"] == fold).sum())) for fold in folds), str(len(rows)))
    if unlabelled := int((scans["label"] == "").sum()):
        table.add_row("no label", *("" for _ in folds), str(unlabelled))
    return table
