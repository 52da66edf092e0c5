"""Histories and evaluations → the plots of the report's page, each a picture of its own (PNG) within the page."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from cov3d.evaluation.scores import TaskEvaluation
from cov3d.reports import figures, score_figures

CURVE_PLOT, TASK_PLOT = (4.5, 3.6), (4.5, 5.6)
"""Inches: about as many as a plot has on a screen, so that its text has the size of the page's."""


@dataclass(frozen=True)
class Picture:
    """An image in the page: its source, and what it shows."""

    source: str
    words: str


def training_plots(histories: Mapping[int, pd.DataFrame]) -> list[Picture]:
    """Losses and scores by epoch, by the fold of the run."""
    found = []
    for fold, history in histories.items():
        if not len(history):
            continue
        of_fold = f", fold {fold}" if len(histories) > 1 else ""
        for draw, words in ((figures.draw_losses, "Losses"), (figures.draw_scores, "Macro F1 on the validation fold")):
            figure = figures.alone(partial(draw, history=history), CURVE_PLOT, figures.CURVE_MARGINS)
            found.append(_drawn(figure, f"{words} by epoch{of_fold}."))
    return found


def task_plots(task: str, evaluation: TaskEvaluation) -> list[Picture]:
    """Calibration, ROC, and precision over recall of a task."""
    roc, recall = (
        figures.alone(partial(draw, task=task, evaluation=evaluation), TASK_PLOT, score_figures.CURVE_MARGINS)
        for draw in (score_figures.draw_roc, score_figures.draw_recall)
    )
    return [
        _drawn(
            score_figures.reliability({task: evaluation}),
            "Calibration: the share of scans for which the prediction came true, by predicted probability. On the grey "
            "line both are equal. Bars: 95 % intervals. Below: scans in each bin.",
        ),
        _drawn(
            roc,
            "ROC (receiver operating characteristic): share of the positive scans found, over the share of negative "
            "scans wrongly taken as positive, at every threshold.",
        ),
        _drawn(
            recall,
            "Precision (share of the scans predicted as the class that are of it) over recall (share of the scans of "
            "the class that are found), at every threshold.",
        ),
    ]


def _drawn(figure: Figure, words: str) -> Picture:
    return in_page(figures.as_png(figure), words)


def in_page(png: bytes, words: str) -> Picture:
    """A PNG as an image that is in the page itself."""
    return Picture(as_source("image/png", png), words)


def as_source(kind: str, content: bytes) -> str:
    """The content of an image as the source of an `img`, safe in HTML; `kind` is such as image/png."""
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
