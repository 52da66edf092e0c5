"""Tables of scores and counts for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from cov3d.evaluation.intervals import Interval, Method
from cov3d.evaluation.measures import MACRO_F1
from cov3d.evaluation.metrics import TaskScore
from cov3d.evaluation.summary import SELECTED, Selection
from cov3d.labels import ALL_LABELS

if TYPE_CHECKING:  # it loads scipy
    from cov3d.evaluation.comparison import Comparison
    from cov3d.evaluation.crossval import CrossValidation
    from cov3d.evaluation.scores import TaskEvaluation
    from cov3d.inference.sanity import Sanity

POSTERIOR_NOTE = '* posterior interval, because the bootstrap (BCa) has no result; see "How to read the scores"'


def number(value: float | None) -> str:
    """Format a score with three digits; a dash for None."""
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


def interval(found: Interval | None) -> str:
    """Format an interval, with a star if BCa has no result; a dash for None."""
    if found is None:
        return "–"
    return f"{found.low:.3f} to {found.high:.3f}{'*' if found.method == Method.POSTERIOR else ' '}"


def evaluation_table(
    evaluation: "TaskEvaluation", title: str, selection: Selection | None = None, task: str = ""
) -> Table:
    """All scores of a task with their intervals and, if the epoch was selected on the fold, the last epoch's score.

    Args:
        evaluation: of the task.
        title: above the table.
        selection: how the epoch was selected, if on the scored scans.
        task: name of the task in `selection`.
    """
    caption = [*evaluation.notes]
    if any(score.interval and score.interval.method == Method.POSTERIOR for score in evaluation.scores):
        caption.append(POSTERIOR_NOTE)
    table = _table(title if selection is None else f"{title}; {selection}", caption)
    for column in ("score", "class"):
        table.add_column(column)
    for column in ("value", "95 % interval", "scans"):
        table.add_column(column, justify="right")
    for score in evaluation.scores:
        bold = "[bold]" if score.name == MACRO_F1 else ""
        values = (score.name, score.of_class, number(score.value), interval(score.interval), str(score.scans))
        table.add_row(*(f"{bold}{value}" for value in values))
        if bold and selection is not None:
            last = number(selection.last.get(task))
            table.add_row("  last epoch", "", last, "", str(score.scans))
    return table


def comparison_table(found: "Comparison", title: str) -> Table:
    """The F1s of two models A and B, their difference, its interval and its p-value."""
    posterior = any(row.interval and row.interval.method == Method.POSTERIOR for row in found.rows)
    notes = []
    for letter, file, selection in zip("AB", found.files, found.selections, strict=True):
        if selection is not None:
            notes.append(f"{letter}: {selection}; last epoch {number(selection.last.get(selection.task))}")
        elif Path(file).name.startswith("out-of-fold-"):
            notes.append(f"{letter}: for each fold, the epoch that was selected on it")
    table = _table(title, [*notes, POSTERIOR_NOTE] if posterior else notes)
    table.add_column("F1")
    for column in ("A", "B", "A − B", "95 % interval", "p", "scans"):
        table.add_column(column, justify="right")
    for row in found.rows:
        p = "" if row.p is None else "<0.001" if row.p < 0.001 else number(row.p)
        table.add_row(
            *(row.name, number(row.a), number(row.b), f"{row.difference:+.3f}", interval(row.interval), p),
            str(row.scans),
        )
    return table


def centre_table(found: Mapping[str, Mapping[str, "TaskEvaluation"]]) -> Table:
    """Macro F1 of each centre's scans."""
    notes = {
        f"source {centre}, {task}: {note}"
        for centre, tasks in found.items()
        for task, e in tasks.items()
        for note in e.notes
    }
    table = _table("Macro F1 by source", sorted(notes))
    for column in ("source", "task"):
        table.add_column(column)
    for column in ("macro F1", "95 % interval", "scans"):
        table.add_column(column, justify="right")
    for centre, tasks in found.items():
        for task, evaluation in tasks.items():
            macro = evaluation.score(MACRO_F1)
            values = (None, None) if macro is None else (macro.value, macro.interval)
            table.add_row(escape(centre), task, number(values[0]), interval(values[1]), str(evaluation.result.scans))
    return table


def _table(title: str, notes: Sequence[str]) -> Table:
    return Table(
        title=escape(title),
        title_justify="left",
        caption=escape("\n".join(notes)) or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )


def confusion_table(score: TaskScore, title: str) -> Table:
    """Counts by true class (rows) and predicted class (columns)."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("true \\ predicted")
    for name in score.classes:
        table.add_column(name, justify="right")
    for name, row in zip(score.classes, score.confusion, strict=True):
        table.add_row(name, *map(str, row))
    return table


def fold_table(scans: pd.DataFrame) -> Table:
    """Number of scans of each label in each fold, and of scans without a label."""
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


def fold_scores_table(found: "CrossValidation") -> Table:
    """Macro F1 by task and fold, at the epoch selected on the fold and at the last, with mean and deviation."""
    table = Table(title="Macro F1 by fold", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("task", "fold", "scans", SELECTED, "epoch", "last epoch"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, rows in found.folds.groupby("task", sort=False):
        for row in rows.to_dict("records"):
            best, last = (None if pd.isna(row[score]) else row[score] for score in ("macro_f1", "last_macro_f1"))
            epoch = "–" if pd.isna(row["best_epoch"]) else f"{row['best_epoch']:.0f} of {row['epochs']}"
            table.add_row(str(task), str(row["fold"]), str(row["scans"]), number(best), epoch, number(last))
        in_words = [_mean_in_words(found, str(task), score) for score in ("macro_f1", "last_macro_f1")]
        table.add_row("", "[bold]mean ± sd", "", f"[bold]{in_words[0]}", "", f"[bold]{in_words[1]}")
        table.add_section()
    return table


def _mean_in_words(found: "CrossValidation", task: str, score: str) -> str:
    mean, deviation = found.mean_and_deviation(task, score)
    if pd.isna(mean):
        return "–"
    return f"{mean:.3f}" if pd.isna(deviation) else f"{mean:.3f} ± {deviation:.3f}"


_MOST_ANSWERS = 50
"""Rows of the table of predictions in the terminal; all are in the files."""


def answer_table(table: pd.DataFrame, *, review_only: bool = False) -> Table:
    """A row a scan: prediction, probability of COVID-19, reasons to review.

    Args:
        table: with the columns of `review.csv`.
        review_only: show only the scans to review.
    """
    rows = table[table["review"] != ""] if review_only else table
    has_spread = bool(table["spread"].notna().any())
    left = len(rows) - _MOST_ANSWERS
    more = f"… and {left} more: review.csv holds all. " if left > 0 else ""
    caption = f"{more}P: probability of COVID-19; severity: the most probable one if the scan is positive"
    title = "Scans to review" if review_only else "Predictions"
    made = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    made.add_column("scan", overflow="fold", ratio=2)
    made.add_column("prediction", no_wrap=True)
    made.add_column("P", justify="right", no_wrap=True)
    if has_spread:
        made.add_column("spread", justify="right")
    made.add_column("severity", no_wrap=True)
    made.add_column("review, because", overflow="fold", ratio=3)
    for row in rows.head(_MOST_ANSWERS).to_dict("records"):
        spread = [f"{row['spread']:.2f}" if pd.notna(row["spread"]) else "–"] if has_spread else []
        why = escape(row["review"])
        made.add_row(escape(row["scan"]), row["presence"], f"{row['p_covid']:.2f}", *spread, row["severity"], why)
    return made


def sanity_table(trained: "Sanity", untrained: "Sanity") -> Table:
    """How often explanations name the lung with the lesions, of a network and of one with random weights."""
    n_scans = len(trained.findings)
    made = Table(title=f"Explanations of {n_scans} synthetic scans with lesions in one lung", title_justify="left")
    made.box = box.SIMPLE_HEAD
    for column in ("", "predicted positive", "lung named by occlusion", "by the map", "map inside the lungs"):
        made.add_column(column, justify="right" if column else "left")
    for name, one in (("this network", trained), ("random weights", untrained)):
        shares = (one.detected, one.occlusion, one.map, one.inside_lungs)
        made.add_row(name, *("–" if share is None else f"{share:.0%}" for share in shares))
    return made
