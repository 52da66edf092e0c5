"""Measure signs that a crop lost a part of the lungs or is too large. The manifest holds them; `doubt` judges them.

They depend on one scan only, so that even a single scan can be checked.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.enclosure import tissue_directions
from cov3d.preprocessing.grid import TISSUE
from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.morphology import Mask, dilated, eroded
from cov3d.preprocessing.thorax import bounds

_LUNG_LIKE = 10.0
"""Grey levels above gas and its noise from which air in the body is more likely lung than bowel."""

_PIECE = 2
"""Half-width of the square erosion that removes airways and edges from other air."""


@dataclass(frozen=True)
class Signs:
    """Signs of errors in masks and box. All are shares; 0 is normal.

    Attributes:
        outside_box: share of the lungs' voxels outside the box.
        other_air: air within the body that looks like lung but is not in the mask, as a share of the lungs.
        step: largest area with which a lung ends between two slices within the scan, as a share of its largest area.
        beyond: largest distance of a face of the box from the lungs, as a share of the lungs' extent.
        cut_above, cut_below: area of the lungs in the scan's first and last slice, as a share of their largest area.
    """

    outside_box: float = 0.0
    other_air: float = 0.0
    step: float = 0.0
    beyond: float = 0.0
    cut_above: float = 0.0
    cut_below: float = 0.0


def find_signs(segmentation: Segmentation, box: Box) -> Signs:
    """The signs of a scan cropped to `box`; all 0 if no lungs were found."""
    lungs = segmentation.lungs
    found = np.count_nonzero(lungs)
    if not found:
        return Signs()
    inside = np.count_nonzero(lungs[tuple(_on_grid(segmentation, axis, span) for axis, span in enumerate(box.bounds))])
    areas = np.array([np.count_nonzero(plane) for plane in lungs])
    return Signs(
        outside_box=1 - inside / found,
        other_air=_other_air(segmentation) / found,
        step=_step(lungs),
        beyond=_beyond(segmentation, box),
        cut_above=float(areas[0] / areas.max()),
        cut_below=float(areas[-1] / areas.max()),
    )


def _on_grid(segmentation: Segmentation, axis: int, span: tuple[int, int]) -> slice:
    """The grid voxels whose centre lies within `span` of the volume."""
    step, origin = segmentation.grid.step[axis], segmentation.grid.origin[axis]
    first, last = (np.ceil((edge - origin) / step - 0.5) for edge in span)
    return slice(max(0, int(first)), max(0, int(last)))


def _other_air(segmentation: Segmentation) -> int:
    """Number of voxels of lung-like air in the body outside the lungs, estimated from every second slice."""
    values, lungs, body = segmentation.grid.values[::2], segmentation.lungs[::2], segmentation.body[::2]
    level = segmentation.gas + _LUNG_LIKE + 2 * segmentation.noise
    other = eroded((values <= TISSUE) & ~dilated(lungs, 1), _PIECE) & (values > level)
    # The body's mask may lack the air itself, if it was classified as outside.
    other &= body | (tissue_directions(body) >= 3)
    return 2 * int(np.count_nonzero(other))


def _step(lungs: Mask) -> float:
    """`Signs.step`, each side separately: one lung may end where the other continues."""
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (int(columns[0]) + int(columns[-1]) + 1) // 2
    sides = np.split(lungs, [middle], axis=2)
    return max(_fall(np.array([np.count_nonzero(plane) for plane in side])) for side in sides)


def _fall(areas: NDArray[np.integer]) -> float:
    if not areas.any():
        return 0.0
    before, after = areas[:-1], areas[1:]
    falls = np.where(after == 0, before, 0), np.where(before == 0, after, 0)
    return float(max(fall.max(initial=0) for fall in falls) / areas.max())


def _beyond(segmentation: Segmentation, box: Box) -> float:
    grid, extent = segmentation.grid, bounds(segmentation.lungs)
    most = 0.0
    for axis, (first, last) in enumerate(box.bounds):
        low, high = (grid.origin[axis] + edge[axis] * grid.step[axis] for edge in (extent.first, extent.last))
        most = max(most, (low - first) / (high - low), (last - high) / (high - low))
    return float(most)
