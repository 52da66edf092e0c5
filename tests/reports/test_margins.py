"""The fixed margins of the report's figures: nothing is cut off at the edge, and nothing covers something else."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cov3d.evaluation.predictions import prediction_table
from cov3d.evaluation.scores import evaluate
from cov3d.labels import CATEGORIES, LABELS, STOIC_CATEGORIES
from cov3d.reports import figures, page_plots, score_figures


def history(epochs: int, loss: float) -> pd.DataFrame:
    values = np.linspace(1.0, 0.1, epochs)
    losses = {"train_loss": loss * values, "valid_loss": loss * values**0.5}
    return pd.DataFrame({"epoch": np.arange(1, epochs + 1), **losses, "presence_f1": 1 - values, "severity_f1": values})


def drawn(case: str) -> Figure:
    if case.startswith("curves of"):
        return figures.curves(history(*{"curves of a few epochs": (3, 0.001), "curves of many": (1000, 50.0)}[case]))
    if case in ("one plot, losses", "one plot, scores"):
        draw_curve = figures.draw_losses if case.endswith("losses") else figures.draw_scores
        return figures.single_plot(
            partial(draw_curve, history=history(1000, 50.0)), page_plots.CURVE_PLOT, figures.CURVE_MARGINS
        )
    categories = STOIC_CATEGORIES if "STOIC" in case else CATEGORIES
    labels = [*STOIC_CATEGORIES, "covid"] if "STOIC" in case else LABELS
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(len(categories)), 60)
    names = [f"scan_{number}" for number in range(60)]
    table = prediction_table(names, probabilities, categories, labels=list(labels) * (60 // len(labels)))
    found = evaluate(table, categories, resamples=50)
    if case.startswith("one plot"):
        draw = {"one plot, ROC": score_figures.draw_roc, "one plot, recall": score_figures.draw_recall}[case]
        plot = partial(draw, task="severity", evaluation=found["severity"])
        return figures.single_plot(plot, page_plots.TASK_PLOT, score_figures.CURVE_MARGINS)
    if "alone" in case:
        found.pop("presence")
    return (score_figures.reliability if case.startswith("reliability") else score_figures.curves)(found)


@pytest.mark.parametrize(
    "case",
    [
        *("curves of a few epochs", "curves of many", "ROC of both tasks", "ROC of severity alone", "ROC of STOIC"),
        *("reliability of both tasks", "reliability of severity alone", "reliability of STOIC"),
        *("one plot, losses", "one plot, scores", "one plot, ROC", "one plot, recall"),
    ],
)
def test_every_label_is_inside_the_figure_and_no_axes_cover_others(case: str) -> None:
    figure = drawn(case)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    whole = figure.bbox
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for box in boxes:
        assert box is not None
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    pairs = [(a, b) for number, a in enumerate(boxes) for b in boxes[:number]]
    assert not any(a.overlaps(b) for a, b in pairs)  # type: ignore[union-attr, arg-type]
