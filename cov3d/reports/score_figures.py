"""Figures of an evaluation: receiver operating characteristic, precision over recall, and reliability diagram."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cov3d.evaluation.intervals import proportion
from cov3d.evaluation.measures import BINS
from cov3d.evaluation.scores import Curve, Score, TaskEvaluation
from cov3d.labels import UNKNOWN_SEVERITY
from cov3d.reports.figures import BLUE, GREEN, LABEL_COLOURS, Margins, axes_in, confusion, save
from cov3d.run_files import CONFUSION_PICTURE, CURVE_PICTURE, RELIABILITY_PICTURE

_STYLES = ("--", "-", "-.", ":")  # by class; covid is the second class of its task
_NOTHING = "no scan could be scored"


def save_pictures(found: Mapping[str, TaskEvaluation], folder: Path) -> None:
    """Write `confusion.png`, `curves.png` and `reliability.png`.

    Raises:
        OutputError: the folder can't be written.
    """
    save(confusion({task: evaluation.result for task, evaluation in found.items()}), folder / CONFUSION_PICTURE)
    save(curves(found), folder / CURVE_PICTURE)
    save(reliability(found), folder / RELIABILITY_PICTURE)


def curves(found: Mapping[str, TaskEvaluation]) -> Figure:
    """ROC (left) and precision over recall (right), one row for each task, with the areas in the legend."""
    figure = Figure(figsize=(9, 5.2 * len(found)))
    grid = axes_in(figure, len(found), 2, CURVE_MARGINS)
    for (roc, recall), (task, evaluation) in zip(grid, found.items(), strict=True):
        draw_roc(roc, task, evaluation)
        draw_recall(recall, task, evaluation)
    return figure


CURVE_MARGINS = Margins(bottom=1.5)


def draw_roc(axes: Axes, task: str, evaluation: TaskEvaluation) -> None:
    """Receiver operating characteristic of each class of a task, with the areas in the legend."""
    _draw(axes, evaluation, evaluation.roc)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
    axes.set(title=f"{task}: ROC (grey: by chance)", xlabel="1 − specificity", ylabel="sensitivity")


def draw_recall(axes: Axes, task: str, evaluation: TaskEvaluation) -> None:
    """Precision over recall of each class of a task, with the areas in the legend."""
    _draw(axes, evaluation, evaluation.pr)
    axes.set(title=f"{task}: precision over recall", xlabel="recall (sensitivity)", ylabel="precision")


def _draw(axes: Axes, evaluation: TaskEvaluation, found: Mapping[str, Curve]) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    if not found:
        axes.text(0.5, 0.5, "fewer than two classes", ha="center", va="center", bbox={"color": "white"})
        return
    styles = dict(zip(evaluation.predictions.classes, _STYLES, strict=False))
    for name, curve in found.items():
        colour = BLUE if name == UNKNOWN_SEVERITY else LABEL_COLOURS[name]
        label = f"{name}, area {_with_interval(curve.area)}"
        axes.plot(curve.x, curve.y, styles[name], color=colour, linewidth=2, label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)


def _with_interval(score: Score) -> str:
    if score.interval is None:
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.interval.low:.3f}–{score.interval.high:.3f})"


def reliability(found: Mapping[str, TaskEvaluation]) -> Figure:
    """Reliability diagrams: share of predictions that came true over predicted probability, and scans in each bin.

    A bar is the 95 % interval (Wilson) of the share that came true.
    """
    figure = Figure(figsize=(4.5 * len(found), 5.6))
    grid = axes_in(figure, 2, len(found), Margins(), between=0.2, sharex=True, height_ratios=(3, 1))
    for (upper, lower), (task, evaluation) in zip(grid.T, found.items(), strict=True):
        if task == "presence":
            given, share = "predicted probability of COVID-19, 1 − p₀", "share positive"
        else:
            given, share = "probability of the predicted severity", "share predicted right"
        upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
        upper.set(title=f"{task}: {_NOTHING}", ylabel=share, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lower.set(xlabel=given, ylabel="scans")
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _bins(upper, lower, task, evaluation)
    return figure


def _bins(upper: Axes, lower: Axes, task: str, evaluation: TaskEvaluation) -> None:
    bins, error = evaluation.reliability, evaluation.score("calibration error")
    if bins is None or error is None:
        return
    ends = [proportion(share, count) for share, count in zip(bins.came_true, bins.scans, strict=True)]
    bars = np.abs(np.array(ends).T - bins.came_true)
    upper.errorbar(bins.probability, bins.came_true, bars, fmt="o-", color=BLUE, ecolor="0.4", capsize=3, markersize=6)
    upper.set_title(f"{task}: calibration error {_with_interval(error)}", fontsize=11)
    left = np.minimum(np.ceil(bins.probability * BINS) - 1, BINS - 1).clip(0) / BINS
    lower.bar(left, bins.scans, width=1 / BINS, align="edge", color=GREEN, edgecolor="white")
