"""Segment body and lungs on the reduced grid by 3-D morphology (section 3.1, after CT-ORG: Rister et al. 2020).

As in CT-ORG, lungs are the large pockets of air that are not connected to the outside. Decisions are made for complete
3-D pieces, never slice by slice, so a piece can't be lung in one slice and outside in the next:

1. Erode the air. This separates lung, outside, bowel and trachea, even where walls have gaps.
2. Classify each remaining piece by the tissue around it, its grey levels and its neighbours.
3. Grow all pieces back at the same speed. Each takes the air nearest to it.
"""

from dataclasses import dataclass, replace

import cc3d
import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.grid import TISSUE, Grid, reduce
from cov3d.preprocessing.morphology import Mask, closed, dilated, eroded, largest, shared_out
from cov3d.preprocessing.pieces import Air, name_pieces
from cov3d.volume import hounsfield_to_grey

OPAQUE = hounsfield_to_grey(-650.0)
"""Brighter lung contains less air than normal. In healthy lungs this is 3 to 5 % (vessels)."""

_BLACK = 14.0
"""Voxels at or below this level (-1068 HU) were not measured (outside a round field of view); they are not air."""

_STILL = 1.0
"""Maximum change in grey levels over all slices at a place that was not measured."""

_SOME = 0.005
"""Minimum share of the grid that is unmeasured, if any is."""

_CORE = 3
"""Half-width of the square erosion, in grid voxels of about 3 mm: wider than a trachea, narrower than a lung."""

_REGROWTH = 9
"""Steps by which pieces grow back: a corner of the eroding square is six steps away, a tapering end slightly more."""

_RIM = 4
"""Steps through the rim of a round field of view, which is at most this wide."""

_CLOSING = 2
"""Half-width of the square closing that fills the lungs' vessels."""

_PATIENT = 4
"""Half-width of the square opening that separates the patient (lungs filled) from table and blankets."""


@dataclass(frozen=True)
class Segmentation:
    """Masks on the reduced grid, and measurements of the lungs.

    Attributes:
        grid: the grid of the masks.
        lungs: bool, shape (depth, height, width) of the grid; all False if no lungs were found.
        body: bool, same shape; everything within the skin, including the lungs.
        gas: grey level of gas in this scan.
        noise: standard deviation of the grid's values in air.
        opacity: share of the lungs, without their surface, that is denser than aerated lung; 0 to 1.
        left_share: the left lung's share of the volume of both lungs, 0 to 1; 0.5 if there are none.
    """

    grid: Grid
    lungs: Mask
    body: Mask
    gas: float
    noise: float
    opacity: float
    left_share: float

    def turned(self) -> "Segmentation":
        """The segmentation of the volume with its slices in reverse order."""
        return replace(self, grid=self.grid.turned(), lungs=self.lungs[::-1], body=self.body[::-1])


def segment(voxels: NDArray[np.uint8]) -> Segmentation:
    """Segment body and lungs in a canonical volume (`uint8`, (depth, height, width), grey levels of the CT window)."""
    grid = reduce(voxels)
    values = grid.values
    tissue = values > TISSUE
    unmeasured, rim = _unmeasured(grid)
    air = ~(tissue | unmeasured)
    pieces = name_pieces(values, tissue, eroded(air, _CORE))
    lungs = _grown(values, air, rim & ~tissue, pieces)
    body = _patient(tissue, lungs, pieces)
    inner = values[eroded(lungs, 1)]
    return Segmentation(
        grid=grid,
        lungs=lungs,
        body=body,
        gas=pieces.gas,
        noise=pieces.noise,
        opacity=float((inner > OPAQUE).mean()) if inner.size else 0.0,
        left_share=_left_share(lungs, body),
    )


def _unmeasured(grid: Grid) -> tuple[Mask, Mask]:
    """Voxels outside a round field of view: black or constant over all slices, with the mixed voxels at the rim.

    Returns:
        All unmeasured voxels, and the rim alone; both are empty if the field of view fills the image.
    """
    values = grid.values
    still = (np.ptp(values, axis=0) <= _STILL) & (values[0] <= TISSUE)
    core = eroded((values <= _BLACK) | still, 1)  # single dark voxels are noise
    if np.count_nonzero(core) < _SOME * core.size:
        return np.zeros_like(core), np.zeros_like(core)
    black = dilated(core, 1)
    unmeasured = dilated(black, 1 + round(0.5 / grid.step[1]))
    # Where the circle touches the border of the image, its rim has no black voxels beside it.
    unmeasured[:, (0, -1)] = True
    unmeasured[:, :, (0, -1)] = True
    return unmeasured, unmeasured & ~black


def _grown(values: NDArray[np.float32], air: Mask, rim: Mask, pieces: Air) -> Mask:
    """Grow the eroded pieces of lung back to their full width, including their tapering ends.

    Lungs that the field of view cuts also grow through its `rim`. Pieces never start there, as its voxels are mixed.
    """
    lungs = np.zeros_like(air)
    if not pieces.lungs.any():
        return lungs
    box = _around(pieces.lungs, _REGROWTH + _CLOSING + 2)
    values, air = values[box], air[box]
    dark = values < pieces.gas + 4 + pieces.noise
    airways = eroded(dark, 1) & air & ~dilated(pieces.lungs[box], 1)
    grown, others = shared_out(pieces.lungs[box], pieces.others[box] | airways, air, _REGROWTH)
    grown = _main_pieces(grown, air & ~(grown | others | dilated(dark, 1)))
    grown = closed(grown, _CLOSING) & ~others
    if rim.any():
        grown, _ = shared_out(grown, others, rim[box], _RIM)
    lungs[box] = grown
    return lungs


def _around(mask: Mask, room: int) -> tuple[slice, slice, slice]:
    """Bounding box of a mask with `room` rows and columns around it, over all slices."""
    _, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    spans = [slice(max(0, int(along[0]) - room), int(along[-1]) + 1 + room) for along in (y, x)]
    return slice(None), spans[0], spans[1]


def _main_pieces(lungs: Mask, rest: Mask) -> Mask:
    """Add the air of `rest` that touches the lungs (ends too thin to survive the erosion), and keep the main pieces.

    Kept are the two lungs, which may form one or two pieces, and pieces nearly as large as the smaller lung (a lobe
    that was split off).
    """
    slices, columns = (np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 1)))
    middle, room = (int(columns[0]) + int(columns[-1])) // 2, len(columns) // 8
    for beyond in (slice(0, int(slices[0])), slice(int(slices[-1]) + 1, None)):
        rest[beyond, :, middle - room : middle + room + 1] = False  # the trachea continues there, lungs do not
    both = rest | lungs
    labels, count = cc3d.connected_components(both, connectivity=6, return_N=True)
    touches = np.zeros(count + 1, dtype=bool)
    touches[labels[lungs]] = True
    sizes = np.bincount(labels[both], minlength=count + 1) * touches
    second = np.sort(sizes)[-2] if np.count_nonzero(touches) > 1 else sizes.max()
    return (sizes >= max(0.25 * second, 0.01 * sizes.max(), 1)).take(labels)


def _patient(tissue: Mask, lungs: Mask, pieces: Air) -> Mask:
    """Everything within the skin. With its air filled, the body is thick; table and blankets are thin."""
    solid = tissue | lungs | dilated(pieces.hollow, _CORE + 1)
    core = eroded(solid, _PATIENT)
    # Every second row and column is enough to separate the pieces, in a quarter of the time.
    main = largest(np.ascontiguousarray(core[:, ::2, ::2]))
    if not main.any():
        return largest(tissue)
    core &= main.repeat(2, axis=1).repeat(2, axis=2)[:, : core.shape[1], : core.shape[2]]
    body = dilated(core, _PATIENT) & solid | dilated(lungs, 2) & tissue | lungs
    return body | closed(body, _PATIENT) & ~dilated(pieces.outside, _CORE)


def middle_column(lungs: Mask, body: Mask) -> int:
    """The first column of the grid on the patient's left: the middle of the body in the slices with lung."""
    across = np.flatnonzero(body[lungs.any(axis=(1, 2))].any(axis=(0, 1)))
    return (int(across[0]) + int(across[-1]) + 1) // 2


def _left_share(lungs: Mask, body: Mask) -> float:
    """The left lung's share. Column 0 is the patient's right; the sides meet at the body's middle."""
    columns = lungs.sum(axis=(0, 1), dtype=np.int32)
    if not columns.any():
        return 0.5
    return float(columns[middle_column(lungs, body) :].sum() / columns.sum())
