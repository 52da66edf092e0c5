"""Write the HTML page of runs and the paper's tables, which opens from disk without a network.

It is plain HTML, so that a browser's search, printing and screen readers work. The script sorts tables, marks tables
that are wider than the page, and unfolds sections for printing. Pictures are inside the page; the files of an entry are
linked. Each plot is a separate picture, so that the page can arrange them and their text is legible on a phone.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from cov3d.challenge.paper_tables import DASH, PaperTable
from cov3d.evaluation.measures import MACRO_F1
from cov3d.evaluation.scores import Score
from cov3d.evaluation.summary import Selection
from cov3d.files import in_place
from cov3d.labels import TASKS
from cov3d.preprocessing.preview import MARKS, SIZE
from cov3d.reports import pages
from cov3d.reports.entries import Mistake, ReportEntry, TaskEntry
from cov3d.reports.page_plots import as_source, embedded_image, task_plots, training_plots
from cov3d.reports.sources import SourceKind
from cov3d.reports.terms import INTERVAL, PAPER_TERMS, explained
from cov3d.reports.titles import titles

_OPEN = 3  # entries are unfolded if there are at most this many

Preview = Callable[[str, str], bytes | None]
"""Returns the picture (WebP) of a scan's crop, given the scan and the input size of the network."""


def write_page(
    file: Path,
    entries: Sequence[ReportEntry],
    tables: Sequence[PaperTable],
    drawn: Mapping[str, bytes],
    missing: Sequence[str],
    preview: Preview,
    on_entry: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write the page.

    Args:
        file: where to write; the files of tables and figures are in the same folder.
        entries: runs, cross-validations and predictions, in order.
        tables: of the paper.
        drawn: the paper's figures (PNG), by name.
        missing: parts that could not be made.
        preview: finds pictures of scans.
        on_entry: called with the number of finished entries.

    Raises:
        OutputError: the file can't be written.
    """
    shown = []
    for number, (entry, title) in enumerate(zip(entries, titles(entries), strict=True), start=1):
        shown.append(_shown(entry, title, number, in_place(file.parent), preview))
        on_entry(number)
    return pages.write(
        file,
        "report",
        entries=shown,
        counts=_counts(entries),
        unfolded=len(shown) <= _OPEN,
        tables=[_shown_table(table) for table in tables],
        figures=[(name, embedded_image(picture, _FIGURES[name])) for name, picture in drawn.items()],
        missing=missing,
        picture_size=SIZE,
        marks=MARKS,
    )


_KINDS = {
    SourceKind.RUN: ("run", "runs"),
    SourceKind.CROSSVAL: ("cross-validation", "cross-validations"),
    SourceKind.PREDICTIONS: ("folder of predictions", "folders of predictions"),
}


def _counts(entries: Sequence[ReportEntry]) -> str:
    """The numbers of entries of each kind, in words."""
    found = Counter(entry.source.kind for entry in entries)
    parts = [f"{found[kind]} {words[found[kind] > 1]}" for kind, words in _KINDS.items() if found[kind]]
    return ", ".join(parts) or "No runs"


_FIGURES = {"figure-1": "Figure 1: slices per scan", "figure-2": "Figure 2: labels by fold"}


def _shown(entry: ReportEntry, title: str, number: int, page_folder: Path, preview: Preview) -> dict[str, Any]:
    """An entry's values for the template."""
    return {
        "anchor": f"entry-{number}",
        "title": title,
        "kind": entry.source.kind.value,
        "notes": entry.notes,
        "tasks": [_shown_task(entry, task, preview) for task in entry.tasks.values()],
        "overview": [_overview(entry.tasks.get(task)) for task in TASKS],
        "training": training_plots(entry.histories),
        "folds": _folds(entry.folds),
        "means": _means(entry.folds),
        "settings": {"folder": entry.name, **entry.settings},
        "files": [
            (
                path.relative_to(entry.source.folder).as_posix(),
                quote(Path(os.path.relpath(path, page_folder)).as_posix()),
            )
            for path in entry.files
        ],
    }


def _shown_task(entry: ReportEntry, task: TaskEntry, preview: Preview) -> dict[str, Any]:
    evaluation = task.evaluation
    methods = [score.interval.method.value for score in evaluation.scores if score.interval]
    return {
        "name": task.task,
        "n_scans": len(evaluation.predictions),
        "selected": _selected(entry, task),
        "notes": evaluation.notes,
        "scores": [_score_cells(score) for score in evaluation.scores],
        "terms": explained([*(score.name for score in evaluation.scores), *methods, *([INTERVAL] if methods else [])]),
        "classes": evaluation.predictions.classes,
        "confusion": _confusion(evaluation.result.confusion),
        "plots": task_plots(task.task, evaluation),
        "n_mistakes": task.n_mistakes,
        "mistakes": [_shown_mistake(mistake, entry.size, preview) for mistake in task.mistakes],
    }


def _selected(entry: ReportEntry, task: TaskEntry) -> str:
    """The epoch of the weights, how it was selected, and the effect on the scores; empty if unknown."""
    if entry.source.kind == SourceKind.CROSSVAL:
        return (
            "Each scan is predicted by the network that was not trained on its fold, with the weights of the epoch "
            "that was selected on that fold. Expect lower scores on new scans."
        )
    return "" if task.selection is None else _selected_epoch(task.selection)


def _selected_epoch(selection: Selection) -> str:
    if selection.epochs == 1:
        return "Weights of epoch 1, the only epoch."
    among = "" if selection.epochs is None else f" of {selection.epochs}"
    text = (
        f"Weights of epoch {selection.epoch}{among}, selected on this fold: the epoch with the highest "
        f"{selection.task} macro F1. Expect lower scores on new scans."
    )
    last = selection.last.get(selection.task)
    return text if last is None else f"{text} Macro F1 of the last epoch, which was not selected: {last:.3f}."


def _score_cells(score: Score) -> tuple[str, ...]:
    interval = score.interval
    ends = DASH if interval is None else f"{interval.low:.3f}–{interval.high:.3f}"
    return (score.name, score.of_class, f"{score.value:.3f}", ends, interval.method.value if interval else DASH)


def _overview(task: TaskEntry | None) -> tuple[str, str, str]:
    """Macro F1, its interval, and the macro F1 of the last epoch."""
    found = task and task.evaluation.score(MACRO_F1)
    if task is None or not found:
        return DASH, DASH, DASH
    interval = found.interval
    ends = DASH if interval is None else f"{interval.low:.3f}–{interval.high:.3f}"
    return f"{found.value:.3f}", ends, DASH if task.last is None else f"{task.last:.3f}"


def _confusion(counts: Any) -> list[list[tuple[int, str]]]:
    """Counts by row, each with its share of the row."""
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        [(int(count), f"{share:.2f}") for count, share in zip(row, shares, strict=True)]
        for row, shares in zip(counts, counts / totals, strict=True)
    ]


def _shown_mistake(mistake: Mistake, size: str, preview: Preview) -> dict[str, Any]:
    picture = preview(mistake.scan, size)
    return {
        "scan": mistake.scan,
        "label": "COVID, severity unknown" if mistake.label == "covid" else mistake.label,
        "predicted": mistake.predicted,
        "probability": f"{mistake.probability:.2f}",
        "picture": None if picture is None else as_source("image/webp", picture),
    }


def _shown_table(table: PaperTable) -> dict[str, Any]:
    """A table of the paper: rows with scores of the user's runs, the other rows, and the row of totals.

    In a table without columns for the user's runs, no row counts as another.
    """
    total = len(table.rows) > 0 and table.rows[-1][0] == "all"
    rows, foot = (table.rows[:-1], table.rows[-1:]) if total else (table.rows, ())
    places = [place for place, name in enumerate(table.head) if name.endswith(("ours", "last epoch"))]
    ours = [row for row in rows if not places or any(row[place] != DASH for place in places)]
    return {
        "table": table,
        "ours": ours,
        "others": [row for row in rows if row not in ours],
        "foot": foot,
        "terms": PAPER_TERMS.get(table.name, ""),
    }


def _folds(folds: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """Rows of a cross-validation: task, fold, scans, macro F1, selected epoch, macro F1 of the last epoch."""
    if folds is None:
        return []
    rows: list[tuple[str, ...]] = []
    for task, of_task in folds.groupby("task", sort=False):
        for row in of_task.to_dict("records"):
            epoch = DASH if pd.isna(row["best_epoch"]) else f"{row['best_epoch']:.0f} of {row['epochs']:.0f}"
            scores = [_number(row[name]) for name in ("macro_f1", "last_macro_f1")]
            rows.append((str(task), str(row["fold"]), str(row["scans"]), scores[0], epoch, scores[1]))
    return rows


def _means(folds: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """Mean and standard deviation of each task, for the rows below."""
    rows: list[tuple[str, ...]] = []
    for task, of_task in [] if folds is None else folds.groupby("task", sort=False):
        best, last = (_mean(of_task[name]) for name in ("macro_f1", "last_macro_f1"))
        rows.append((str(task), "mean ± sd", str(int(of_task["scans"].sum())), best, "", last))
    return rows


def _number(value: Any) -> str:
    return DASH if pd.isna(value) else f"{value:.3f}"


def _mean(values: pd.Series) -> str:
    values = values.astype(float).dropna()
    return DASH if len(values) < 2 else f"{values.mean():.3f} ± {values.std():.3f}"
