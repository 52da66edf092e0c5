"""Plots of the report's page from histories and evaluations. Each is a separate picture (PNG) inside the page."""

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
"""Inches, about the size of a plot on a screen, so that its text has the size of the page's text."""


@dataclass(frozen=True)
class PageImage:
    """An image in the page: its source and a description."""

    source: str
    description: str


def training_plots(histories: Mapping[int, pd.DataFrame]) -> list[PageImage]:
    """Losses and scores by epoch, for each fold's run."""
    found = []
    for fold, history in histories.items():
        if not len(history):
            continue
        which = f", fold {fold}" if len(histories) > 1 else ""
        for draw, what in ((figures.draw_losses, "Losses"), (figures.draw_scores, "Macro F1 on the validation fold")):
            figure = figures.single_plot(partial(draw, history=history), CURVE_PLOT, figures.CURVE_MARGINS)
            found.append(_image(figure, f"{what} by epoch{which}."))
    return found


def task_plots(task: str, evaluation: TaskEvaluation) -> list[PageImage]:
    """Calibration, ROC, and precision over recall of a task."""
    roc, recall = (
        figures.single_plot(partial(draw, task=task, evaluation=evaluation), TASK_PLOT, score_figures.CURVE_MARGINS)
        for draw in (score_figures.draw_roc, score_figures.draw_recall)
    )
    return [
        _image(
            score_figures.reliability({task: evaluation}),
            "Calibration: the share of scans for which the prediction came true, by predicted probability. On the grey "
            "line both are equal. Bars: 95 % intervals. Below: scans in each bin.",
        ),
        _image(
            roc,
            "ROC (receiver operating characteristic): share of the positive scans found, over the share of negative "
            "scans wrongly predicted positive, at every threshold.",
        ),
        _image(
            recall,
            "Precision (share of the scans predicted as a class that belong to it) over recall (share of the scans of "
            "a class that are found), at every threshold.",
        ),
    ]


def _image(figure: Figure, description: str) -> PageImage:
    return embedded_image(figures.as_png(figure), description)


def embedded_image(png: bytes, description: str) -> PageImage:
    """A PNG as an image inside the page."""
    return PageImage(as_source("image/png", png), description)


def as_source(media_type: str, content: bytes) -> str:
    """The content of an image as the source of an `img`, safe in HTML; a media type is for example image/png."""
    return Markup(f"data:{media_type};base64,{base64.b64encode(content).decode()}")
