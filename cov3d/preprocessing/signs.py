"""Masks and box → signs that a crop lost something or holds too much: numbers in the manifest, judged by `doubt`.

They are measured on each scan by itself, so that a single scan can be doubted.
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
"""Grey levels above the level of gas, beside its noise, from which air in the body is more likely lung than bowel."""

_PIECE = 2
"""Half-width of the square erosion: what it leaves of other air is no airway and no edge."""


@dataclass(frozen=True)
class Signs:
    """What is odd about masks and box. All are shares, 0 where nothing is.

    Attributes:
        outside_box: share of the lungs' voxels outside the box.
        other_air: air within the body that looks like lung and is not taken for it, as a share of the lungs.
        step: the largest area from which a lung falls to nothing between two slices within the scan, as a share of
            its largest area.
        beyond: the furthest that a face of the box lies from the lungs, as a share of the lungs' extent.
        cut_above, cut_below: area of the lungs in the scan's first and last slice, as a share of their largest area.
    """

    outside_box: float = 0.0
    other_air: float = 0.0
    step: float = 0.0
    beyond: float = 0.0
    cut_above: float = 0.0
    cut_below: float = 0.0


def find_signs(segmentation: Segmentation, box: Box) -> Signs:
    """The signs of a scan with lungs, cropped to `box`; none where no lungs were found."""
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
    """The grid's voxels whose middle lies within `span` of the volume."""
    step, origin = segmentation.grid.step[axis], segmentation.grid.origin[axis]
    first, last = (np.ceil((edge - origin) / step - 0.5) for edge in span)
    return slice(max(0, int(first)), max(0, int(last)))


def _other_air(segmentation: Segmentation) -> int:
    """Voxels of lung-like air in the body's hollows beside the lungs; every second slice tells well enough."""
    values, lungs, body = segmentation.grid.values[::2], segmentation.lungs[::2], segmentation.body[::2]
    level = segmentation.gas + _LUNG_LIKE + 2 * segmentation.noise
    other = eroded((values <= TISSUE) & ~dilated(lungs, 1), _PIECE) & (values > level)
    # The body may lack the hollow itself, where it was taken for air outside.
    other &= body | (tissue_directions(body) >= 3)
    return 2 * int(np.count_nonzero(other))


def _step(lungs: Mask) -> float:
    """Each side by itself: one lung may end where the other goes on."""
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
