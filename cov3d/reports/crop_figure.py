"""A figure of a volume and its crop in three planes, with axes in voxels."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.lungs import Segmentation
from cov3d.reports.figures import ORANGE, SKY


def crop(voxels: NDArray[np.uint8], box: Box, segmentation: Segmentation, title: str) -> Figure:
    """A volume in three planes, each through the most lung, with the crop box and the outline of the lungs.

    Args:
        voxels: the canonical volume.
        box: its crop box.
        segmentation: its lungs.
        title: above the picture.
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
    """A plane through a volume: its name, the axis perpendicular to it, and the axes of its rows and columns."""

    name: str
    across: int
    rows: int
    columns: int


# Letters at the left, right, upper and lower side of each plane: the patient's right and left, front (anterior) and
# back (posterior), head and feet.
_SIDES = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}
_PLACES = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))

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
    for letter, (across, up) in zip(_SIDES[plane.name], _PLACES, strict=True):
        text = axes.text(across, up, letter, color="white", weight="bold", transform=axes.transAxes)
        text.set(ha="center", va="center", path_effects=[withStroke(linewidth=2.5, foreground="black")])
    # JPEG slices have no spacing, so planes across them are drawn square.
    axes.set_box_aspect(1.0 if plane.across else rows / columns)
    axes.set(title=plane.name, xlabel=_AXES[plane.columns], ylabel=_AXES[plane.rows])
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
