"""Entries and the paper's tables → one HTML page to look at runs by, which opens from disk without a network.

All is plain HTML, so that a browser's search, print and reading aloud work; the script only sorts tables and opens what
is folded up for printing. Pictures are in the page; beside it lie, and are linked, the files that it was made from.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from cov3d.challenge.paper_tables import DASH, PaperTable
from cov3d.evaluation.measures import MACRO_F1
from cov3d.evaluation.scores import Score
from cov3d.files import in_place
from cov3d.labels import TASKS
from cov3d.preprocess.preview import SIZE
from cov3d.reports import figures, pages, score_figures
from cov3d.reports.entries import Entry, Mistake, TaskEntry

_OPEN = 3  # entries up to this number are unfolded

Preview = Callable[[str, str], bytes | None]
"""The picture (WebP) of a scan's crop, given the scan and the size of the network that was wrong about it."""


@dataclass(frozen=True)
class _Picture:
    """An image in the page."""

    source: str
    words: str


def write_page(
    file: Path,
    entries: Sequence[Entry],
    tables: Sequence[PaperTable],
    drawn: Mapping[str, bytes],
    missing: Sequence[str],
    preview: Preview,
    on_entry: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write the page.

    Args:
        file: where to; the files of tables and figures lie beside it.
        entries: runs, cross-validations and predictions, in order.
        tables: the paper's.
        drawn: the paper's figures (PNG), by name.
        missing: what could not be made.
        preview: finds pictures of scans.
        on_entry: is told how many entries are done.

    Raises:
        OutputError: the file can't be written.
    """
    shown = []
    for number, entry in enumerate(entries, start=1):
        shown.append(_shown(entry, number, in_place(file.parent), preview))
        on_entry(number)
    return pages.write(
        file,
        "report",
        entries=shown,
        unfolded=len(shown) <= _OPEN,
        tables=tables,
        figures=[(name, _picture(picture, _FIGURES[name])) for name, picture in drawn.items()],
        missing=missing,
        picture_size=SIZE,
        dash=DASH,
    )


_FIGURES = {"figure-1": "Figure 1: slices per scan", "figure-2": "Figure 2: labels by fold"}


def _shown(entry: Entry, number: int, page_folder: Path, preview: Preview) -> dict[str, Any]:
    """What the template needs of an entry."""
    return {
        "anchor": f"entry-{number}",
        "name": entry.name,
        "kind": entry.source.kind.value,
        "fold": entry.settings.get("fold", DASH),
        "notes": entry.notes,
        "tasks": [_shown_task(task, entry.size, preview) for task in entry.tasks.values()],
        "overview": [_overview(entry.tasks.get(task)) for task in TASKS],
        "pictures": _pictures(entry),
        "folds": _folds(entry.folds),
        "means": _means(entry.folds),
        "settings": entry.settings,
        "files": [
            (
                path.relative_to(entry.source.folder).as_posix(),
                quote(Path(os.path.relpath(path, page_folder)).as_posix()),
            )
            for path in entry.files
        ],
    }


def _shown_task(task: TaskEntry, size: str, preview: Preview) -> dict[str, Any]:
    evaluation = task.evaluation
    return {
        "name": task.task,
        "scans": len(evaluation.calls),
        "chosen": task.chosen,
        "last": None if task.last is None else f"{task.last:.3f}",
        "notes": evaluation.notes,
        "scores": [_score_cells(score) for score in evaluation.scores],
        "classes": evaluation.calls.classes,
        "confusion": _confusion(evaluation.result.confusion),
        "wrong": task.wrong,
        "mistakes": [_shown_mistake(mistake, size, preview) for mistake in task.mistakes],
    }


def _score_cells(score: Score) -> tuple[str, ...]:
    interval = score.interval
    ends = (DASH, DASH) if interval is None else (f"{interval.low:.3f}", f"{interval.high:.3f}")
    return (score.name, score.of_class, f"{score.value:.3f}", *ends, interval.method.value if interval else DASH)


def _overview(task: TaskEntry | None) -> tuple[str, str, str]:
    """Macro F1, its interval, and the last epoch's."""
    found = task and task.evaluation.score(MACRO_F1)
    if task is None or not found:
        return DASH, DASH, DASH
    interval = found.interval
    ends = DASH if interval is None else f"{interval.low:.3f}–{interval.high:.3f}"
    return f"{found.value:.3f}", ends, DASH if task.last is None else f"{task.last:.3f}"


def _confusion(counts: Any) -> list[list[tuple[int, str]]]:
    """Counts, and the share of its row that each is, by row."""
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
        "called": mistake.called,
        "probability": f"{mistake.probability:.2f}",
        "picture": None if picture is None else _data("image/webp", picture),
    }


def _pictures(entry: Entry) -> list[_Picture]:
    """Curves of training, and of the scores: ROC, precision over recall, calibration."""
    evaluations = {name: task.evaluation for name, task in entry.tasks.items()}
    found = []
    for fold, history in entry.histories.items():
        if len(history):
            words = "Losses and macro F1 by epoch" + (f", fold {fold}" if len(entry.histories) > 1 else "")
            found.append(_drawn(figures.curves(history), words))
    if evaluations:
        found.append(_drawn(score_figures.reliability(evaluations), "Calibration: what came true of what was given"))
        found.append(_drawn(score_figures.curves(evaluations), "ROC, and precision over recall"))
    return found


def _folds(folds: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """Rows of a cross-validation: task, fold, scans, macro F1 at the chosen epoch, which that was, and at the last."""
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
    """The row below those: mean and standard deviation of each task."""
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


def _drawn(figure: Figure, words: str) -> _Picture:
    return _picture(figures.as_png(figure), words)


def _picture(png: bytes, words: str) -> _Picture:
    return _Picture(_data("image/png", png), words)


def _data(kind: str, content: bytes) -> str:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
