"""Figures from tables (PNG, SVG), drawn without a screen."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from cov3d.errors import OutputError
from cov3d.evaluation.metrics import TaskScore
from cov3d.files import replacing
from cov3d.labels import ALL_LABELS, LABELS, STOIC_SEVERITIES
from cov3d.run_files import CURVES, HISTORY

# Okabe and Ito's palette, which can be distinguished with any colour vision.
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
LABEL_COLOURS = {
    **dict(zip(LABELS, (BLUE, SKY, GREEN, ORANGE, RED, PINK), strict=True)),
    **dict(zip(STOIC_SEVERITIES, (SKY, RED), strict=True)),
}


# Minimum ratio of largest to smallest loss for a logarithmic axis, which then has at least three numbers.
_WIDE = 10.0

# Minimum range of the losses, as a share of the largest, for an axis that does not start at 0.
_NARROW = 0.2


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, or as SVG if the file's suffix is .svg, completely or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    with replacing(file) as aside:
        if file.suffix == ".svg":
            # No date, and ids from a fixed salt, so that equal figures give equal bytes.
            with rc_context({"svg.hashsalt": "cov3d"}):
                figure.savefig(aside, format="svg", metadata={"Date": None, "Creator": None})
        else:
            aside.write_bytes(as_png(figure))


def save_curves(folder: Path, history: pd.DataFrame) -> None:
    """Write the curves of a run to its folder, as `curves.png`.

    Raises:
        OutputError: the file can't be written.
    """
    save(curves(history), folder / CURVES)


def draw_missing_curves(folder: Path) -> None:
    """Write the curves of a run that has a history but no curves.

    Raises:
        OutputError: the file can't be written.
    """
    if (folder / CURVES).exists() or not (folder / HISTORY).is_file():
        return
    try:
        history = pd.read_csv(folder / HISTORY)
        figure = curves(history)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{folder / CURVES} can't be drawn: {folder / HISTORY} can't be read ({error})") from error
    save(figure, folder / CURVES)


def as_png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    content = io.BytesIO()
    # No software version or date in the file, so that equal figures give equal bytes.
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return content.getvalue()


@dataclass(frozen=True)
class Margins:
    """Margins around each axes of a figure, in inches, for labels, title and legend."""

    left: float = 0.75
    right: float = 0.15
    top: float = 0.4
    bottom: float = 0.6


def axes_in(
    figure: Figure, rows: int, columns: int, margins: Margins, *, between: float | None = None, **how: Any
) -> NDArray[Any]:
    """Axes in a grid, shape (rows, columns), with fixed margins.

    Matplotlib's constrained layout finds margins by drawing all text several times, which takes longer than drawing the
    figure. A report has hundreds of figures with the same few layouts.

    Args:
        figure: without a layout engine.
        rows, columns: shape of the grid.
        margins: around each axes.
        between: inches between two rows, if not the top and bottom margins.
        how: arguments of `Figure.subplots`.
    """
    width, height = figure.get_size_inches()
    side, gap = margins.left + margins.right, margins.top + margins.bottom if between is None else between
    inside = (width - columns * side) / columns
    tall = (height - margins.top - margins.bottom - (rows - 1) * gap) / rows
    figure.subplots_adjust(
        left=margins.left / width,
        right=1 - margins.right / width,
        top=1 - margins.top / height,
        bottom=margins.bottom / height,
        wspace=side / inside,
        hspace=gap / tall,
    )
    return figure.subplots(rows, columns, squeeze=False, **how)


def single_plot(draw: Callable[[Axes], None], size: tuple[float, float], margins: Margins) -> Figure:
    """A figure with one plot, for a page that arranges its plots itself.

    Args:
        draw: draws the plot.
        size: width and height in inches.
        margins: around the axes.
    """
    figure = Figure(figsize=size)
    draw(axes_in(figure, 1, 1, margins)[0, 0])
    return figure


def curves(history: pd.DataFrame) -> Figure:
    """Losses and macro F1 of a run by epoch, with the best epoch of each task marked."""
    figure = Figure(figsize=(9, 3.6))
    losses, scores = axes_in(figure, 1, 2, CURVE_MARGINS)[0]
    draw_losses(losses, history)
    draw_scores(scores, history)
    return figure


CURVE_MARGINS = Margins(left=0.85, bottom=0.85)


def draw_losses(axes: Axes, history: pd.DataFrame) -> None:
    """Training and validation loss of a run by epoch."""
    epochs = history["epoch"]
    axes.plot(epochs, history["train_loss"], "o-", color=BLUE, markersize=4, label="training")
    axes.plot(epochs, history["valid_loss"], "s--", color=ORANGE, markersize=4, label="validation")
    axes.set(xlabel="epoch", ylabel="focal + earth mover's loss", title="Loss")
    _scale_losses(axes, history[["train_loss", "valid_loss"]].astype(float).to_numpy())
    _epoch_axis(axes, epochs)


def draw_scores(axes: Axes, history: pd.DataFrame) -> None:
    """Macro F1 of each task on the validation fold by epoch, with a ring around the best."""
    epochs = history["epoch"]
    for task, colour, style in (("presence", BLUE, "o-"), ("severity", RED, "s--")):
        values = history[f"{task}_f1"].astype(float)
        if values.isna().all():
            continue
        axes.plot(epochs, values, style, color=colour, markersize=4, label=task)
        best = int(np.nanargmax(values.to_numpy()))
        axes.plot(epochs.iloc[best], values.iloc[best], "o", color=colour, markersize=11, fillstyle="none")
    axes.set(xlabel="epoch", ylabel="macro F1", title="Validation (ring: best epoch)", ylim=(0, 1.03))
    _epoch_axis(axes, epochs)


def _scale_losses(axes: Axes, losses: NDArray[np.float64]) -> None:
    """Use a logarithmic axis if losses differ much, and an axis from 0 if they hardly differ or there is only one."""
    found = losses[np.isfinite(losses)]
    least, most = (found.min(), found.max()) if len(found) else (0.0, 1.0)
    # The validation loss of an early epoch may be a hundred times that of a late one.
    if least > 0 and most > _WIDE * least:
        _log_scale(axes)
    elif most - least < _NARROW * most:
        axes.set_ylim(0, 1.25 * most)
    axes.yaxis.set_major_formatter("{x:g}")


def _log_scale(axes: Axes) -> None:
    """Use a logarithmic y axis with ticks at 1, 2 and 5 times each power of ten, as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter("{x:g}")


def _epoch_axis(axes: Axes, epochs: pd.Series) -> None:
    """Set integer epochs on the x axis, with margins of at least half an epoch; add grid and legend."""
    if len(epochs):
        first, last = epochs.min(), epochs.max()
        room = max(0.5, 0.04 * (last - first))
        axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)


def folds(scans: pd.DataFrame) -> Figure:
    """Number of scans of each label in each fold, on a logarithmic axis (Figure 2 of the paper)."""
    labelled = scans[scans["label"] != ""]
    numbers = sorted(labelled["fold"].dropna().unique())
    labels = [label for label in ALL_LABELS if (labelled["label"] == label).any()]
    figure = Figure(figsize=(9, 4.0), layout="constrained")
    axes = figure.subplots()
    width = 0.85 / max(len(labels), 1)
    for index, label in enumerate(labels):
        counts = [int(((labelled["fold"] == fold) & (labelled["label"] == label)).sum()) for fold in numbers]
        places = np.arange(len(numbers)) + (index - (len(labels) - 1) / 2) * width
        bars = axes.bar(places, counts, width, color=LABEL_COLOURS[label], label=_in_words(label))
        axes.bar_label(bars, fontsize=8.5, padding=1)
    _log_scale(axes)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0.7)
    axes.set_xticks(range(len(numbers)), [f"fold {fold}" for fold in numbers])
    axes.set(ylabel="scans", title="Labels by fold")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    return figure


def _in_words(label: str) -> str:
    return "COVID, severity unknown" if label == "covid" else label


def confusion(scores: Mapping[str, TaskScore]) -> Figure:
    """The confusion matrices of the tasks, with counts: blue for right predictions, orange for wrong ones."""
    figure = Figure(figsize=(4.5 * len(scores), 4.2), layout="constrained")
    for axes, (task, score) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        _matrix(axes, score)
        f1 = "no scan scored" if score.macro_f1 is None else f"macro F1 {score.macro_f1:.3f}, {score.scans} scans"
        axes.set(title=f"{task}: {f1}", xlabel="prediction", ylabel="label")
    return figure


def _matrix(axes: Axes, score: TaskScore) -> None:
    most = max(int(score.confusion.max()), 1)
    right = np.eye(len(score.classes), dtype=bool)
    for cells, colours in ((right, "Blues"), (~right, "Oranges")):
        axes.imshow(np.ma.masked_array(score.confusion, ~cells), cmap=colours, vmin=0, vmax=most)
    axes.set_xticks(range(len(score.classes)), score.classes)
    axes.set_yticks(range(len(score.classes)), score.classes)
    for row, counts in enumerate(score.confusion):
        for column, count in enumerate(counts):
            colour = "white" if count > most / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
