"""Tables and volumes → pictures (PNG, SVG), drawn without a screen."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from cov3d.errors import OutputError
from cov3d.evaluation.metrics import TaskScore
from cov3d.files import replacing
from cov3d.labels import ALL_LABELS, LABELS, STOIC_SEVERITIES
from cov3d.preprocess.crop import Box
from cov3d.preprocess.lungs import Segmentation
from cov3d.run_files import CURVES, HISTORY

# Okabe and Ito's palette, told apart by people with any colour vision.
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
LABEL_COLOURS = {
    **dict(zip(LABELS, (BLUE, SKY, GREEN, ORANGE, RED, PINK), strict=True)),
    **dict(zip(STOIC_SEVERITIES, (SKY, RED), strict=True)),
}


# How many times the least loss the greatest must be for a logarithmic axis, on which three numbers at least then stand.
_WIDE = 10.0


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, or as SVG where the file is called so, whole or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    with replacing(file) as aside:
        if file.suffix == ".svg":
            # No date, and names that are drawn from the salt and not at random: equal figures are equal bytes.
            with rc_context({"svg.hashsalt": "cov3d"}):
                figure.savefig(aside, format="svg", metadata={"Date": None, "Creator": None})
        else:
            aside.write_bytes(as_png(figure))


def save_curves(folder: Path, history: pd.DataFrame) -> None:
    """Write the curves of a run, `curves.png`, to its folder.

    Raises:
        OutputError: the file can't be written.
    """
    save(curves(history), folder / CURVES)


def draw_missing_curves(folder: Path) -> None:
    """Write the curves of a run that has a history but none of them.

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
    # No software version or date in the file: equal figures are equal bytes.
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return content.getvalue()


@dataclass(frozen=True)
class Margins:
    """Room around each of the axes of a figure, in inches: for labels, title and legend."""

    left: float = 0.75
    right: float = 0.15
    top: float = 0.4
    bottom: float = 0.6


def axes_in(
    figure: Figure, rows: int, columns: int, margins: Margins, *, between: float | None = None, **how: Any
) -> NDArray[Any]:
    """Axes in a grid, shape (rows, columns), with fixed margins.

    Matplotlib's constrained layout finds margins by drawing all text several times, which takes longer than drawing the
    figure; a report has hundreds of figures of the same few shapes.

    Args:
        figure: to put them in, with no layout of its own.
        rows, columns: how many.
        margins: around each of the axes.
        between: inches between two rows, where that is not the margins' top and bottom.
        how: as `Figure.subplots` takes it.
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


def curves(history: pd.DataFrame) -> Figure:
    """Losses and macro F1s of a run by epoch, the best epoch of each task marked."""
    figure = Figure(figsize=(9, 3.6))
    losses, scores = axes_in(figure, 1, 2, Margins(left=0.85, bottom=0.85))[0]
    epochs = history["epoch"]
    losses.plot(epochs, history["train_loss"], "o-", color=BLUE, markersize=4, label="training")
    losses.plot(epochs, history["valid_loss"], "s--", color=ORANGE, markersize=4, label="validation")
    losses.set(xlabel="epoch", ylabel="focal + earth mover's loss", title="Loss")
    found = history[["train_loss", "valid_loss"]].astype(float).to_numpy()
    # An early epoch's validation loss may be a hundred times a late one's.
    if np.nanmax(found) > _WIDE * np.nanmin(found):
        losses.set_yscale("log")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_minor_formatter(NullFormatter())
    losses.yaxis.set_major_formatter("{x:g}")
    for task, colour, style in (("presence", BLUE, "o-"), ("severity", RED, "s--")):
        values = history[f"{task}_f1"].astype(float)
        if values.isna().all():
            continue
        scores.plot(epochs, values, style, color=colour, markersize=4, label=task)
        best = int(values.to_numpy().argmax())
        scores.plot(epochs.iloc[best], values.iloc[best], "o", color=colour, markersize=11, fillstyle="none")
    scores.set(xlabel="epoch", ylabel="macro F1", title="Validation (ring: best epoch)", ylim=(0, 1.03))
    for axes in (losses, scores):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    return figure


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
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0.7)
    axes.set_xticks(range(len(numbers)), [f"fold {fold}" for fold in numbers])
    axes.set(ylabel="scans", title="Labels by fold")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    return figure


def _in_words(label: str) -> str:
    return "COVID, severity unknown" if label == "covid" else label


def crop(voxels: NDArray[np.uint8], box: Box, segmentation: Segmentation, title: str) -> Figure:
    """A volume in three planes, each where it cuts the most lung, with the crop box and the outline of the lungs.

    Args:
        voxels: the canonical volume.
        box: its crop box.
        segmentation: its lungs.
        title: over the picture.
    """
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    figure.suptitle(title)
    for axes, plane in zip(figure.subplots(1, 3), _PLANES, strict=True):
        _crop_plane(axes, plane, voxels, box, segmentation)
    handles = [Line2D([], [], color=ORANGE, label="crop box"), Line2D([], [], color=SKY, label="lungs")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


@dataclass(frozen=True)
class _Plane:
    """A plane through a volume: its name, the axis it is cut across, and the axes that are its rows and columns."""

    name: str
    across: int
    rows: int
    columns: int


_PLANES = (_Plane("axial", 0, 1, 2), _Plane("coronal", 1, 0, 2), _Plane("sagittal", 2, 0, 1))
_AXES = ("slice, from the head", "row, from the front", "column, from the patient's right")


def _crop_plane(
    axes: Axes,
    plane: _Plane,
    voxels: NDArray[np.uint8],
    box: Box,
    segmentation: Segmentation,
) -> None:
    lungs, step, origin = segmentation.lungs, segmentation.grid.step, segmentation.grid.origin
    bounds = ((box.z0, box.z1), (box.y0, box.y1), (box.x0, box.x1))
    place = int(lungs.sum(axis=(plane.rows, plane.columns)).argmax()) if lungs.any() else lungs.shape[plane.across] // 2
    image = voxels.take(int(origin[plane.across] + place * step[plane.across]), plane.across)
    mask = lungs.take(place, plane.across)
    rows, columns = voxels.shape[plane.rows], voxels.shape[plane.columns]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto")
    if mask.any() and not mask.all():
        down = (np.arange(lungs.shape[plane.rows]) + 0.5) * step[plane.rows] + origin[plane.rows] - 0.5
        along = (np.arange(lungs.shape[plane.columns]) + 0.5) * step[plane.columns] + origin[plane.columns] - 0.5
        axes.contour(along, down, mask, levels=[0.5], colors=[SKY], linewidths=1.0)
    (top, bottom), (left, right) = bounds[plane.rows], bounds[plane.columns]
    corner = (left - 0.5, top - 0.5)
    axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=ORANGE, linewidth=2))
    # A JPEG does not say how far apart its slices are, so planes across them are drawn square.
    axes.set_box_aspect(1.0 if plane.across else rows / columns)
    axes.set(title=plane.name, xlabel=_AXES[plane.columns], ylabel=_AXES[plane.rows])
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def confusion(scores: Mapping[str, TaskScore]) -> Figure:
    """The confusion matrices of the tasks, counts written into the cells."""
    figure = Figure(figsize=(4.5 * len(scores), 4.2), layout="constrained")
    for axes, (task, score) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        _matrix(axes, score)
        f1 = "no scan scored" if score.macro_f1 is None else f"macro F1 {score.macro_f1:.3f}, {score.scans} scans"
        axes.set(title=f"{task}: {f1}", xlabel="called", ylabel="true")
    return figure


def _matrix(axes: Axes, score: TaskScore) -> None:
    most = max(int(score.confusion.max()), 1)
    axes.imshow(score.confusion, cmap="Blues", vmin=0, vmax=most)
    axes.set_xticks(range(len(score.classes)), score.classes)
    axes.set_yticks(range(len(score.classes)), score.classes)
    for row, counts in enumerate(score.confusion):
        for column, count in enumerate(counts):
            colour = "white" if count > most / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
