"""Reduced grid → masks of body and lungs, by 3-D morphology (section 3.1, after CT-ORG: Rister et al. 2020).

CT-ORG's idea is kept: lungs are the large pockets of air that are not joined to the outside. What it leaves open is
settled here for whole pieces in three dimensions, never slice by slice, so that what is lung above and below can't be
outside in between: air is eroded, which parts lung, outside, bowel and windpipe from each other even where walls have
gaps; each piece that is left is named once, by the tissue that stands round it, by its grey levels and by what it
touches; then all pieces grow back at the same pace, each taking the air nearest to it.
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
"""Above: lung with less air than it should have. In healthy lungs 3 to 5 % is: vessels."""

_BLACK = 14.0
"""At or below (-1068 HU): no measurement (outside the round field of view), not air."""

_STILL = 1.0
"""Grey levels within which a place stays through all slices if nothing was measured there."""

_SOME = 0.005
"""Share of the grid that is unmeasured at least if anything is."""

_CORE = 3
"""Half-width of the square erosion, in grid voxels of about 3 mm: wider than a windpipe, narrower than a lung."""

_REGROWTH = 9
"""Steps by which pieces grow back: the corner of the eroding square lies six away, and a tapering end a little more."""

_RIM = 4
"""Steps through the rim of a round field of view: it is no wider."""

_CLOSING = 2
"""Half-width of the square closing that fills the lungs' vessels."""

_PATIENT = 4
"""Half-width of the square opening that parts the patient, lungs filled, from table and blankets."""


@dataclass(frozen=True)
class Segmentation:
    """Masks on the reduced grid, and what they say of the lungs.

    Attributes:
        grid: the grid that the masks lie on.
        lungs: bool, shape (depth, height, width) of the grid; empty of True where no lungs were found.
        body: bool, same shape; everything within the skin, lungs included.
        gas: grey level of gas in this scan.
        noise: standard deviation of the grid's values in air.
        opacity: share of the lungs, their surface left out, that is denser than aerated lung; 0 to 1.
        left_share: the left lung's share of both lungs' volume, 0 to 1; 0.5 where there are none.
    """

    grid: Grid
    lungs: Mask
    body: Mask
    gas: float
    noise: float
    opacity: float
    left_share: float

    def turned(self) -> "Segmentation":
        """The same of a volume whose slices are in the opposite order."""
        return replace(self, grid=self.grid.turned(), lungs=self.lungs[::-1], body=self.body[::-1])


def segment(voxels: NDArray[np.uint8]) -> Segmentation:
    """Find body and lungs in a canonical volume (`uint8`, (depth, height, width), grey levels of the CT window)."""
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
    """What lies outside a round field of view, black or the same in all slices, and the mixed voxels at its rim in it.

    Returns:
        All that is not measured, and its rim; both are empty where the field of view is the image.
    """
    values = grid.values
    still = (np.ptp(values, axis=0) <= _STILL) & (values[0] <= TISSUE)
    core = eroded((values <= _BLACK) | still, 1)  # single dark voxels are noise
    if np.count_nonzero(core) < _SOME * core.size:
        return np.zeros_like(core), np.zeros_like(core)
    black = dilated(core, 1)
    unmeasured = dilated(black, 1 + round(0.5 / grid.step[1]))
    # Where the circle touches the image's border, its rim has nothing black beside it.
    unmeasured[:, (0, -1)] = True
    unmeasured[:, :, (0, -1)] = True
    return unmeasured, unmeasured & ~black


def _grown(values: NDArray[np.float32], air: Mask, rim: Mask, pieces: Air) -> Mask:
    """The lungs, from their eroded pieces back to their full width and along their tapering ends.

    Where the field of view cuts them they go on through its `rim`, which is too mixed to start from.
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
    """The box of a mask with `room` rows and columns around it, and all slices."""
    _, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    spans = [slice(max(0, int(along[0]) - room), int(along[-1]) + 1 + room) for along in (y, x)]
    return slice(None), spans[0], spans[1]


def _main_pieces(lungs: Mask, rest: Mask) -> Mask:
    """The lungs with the air of `rest` that touches them: what tapers off from them too thin to have a core.

    Of the pieces that this makes, the two lungs are kept, which may be one or two, and any nearly as large as the
    smaller (a split lobe).
    """
    slices, columns = (np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 1)))
    middle, room = (int(columns[0]) + int(columns[-1])) // 2, len(columns) // 8
    for beyond in (slice(0, int(slices[0])), slice(int(slices[-1]) + 1, None)):
        rest[beyond, :, middle - room : middle + room + 1] = False  # the windpipe leads on there, lungs do not
    both = rest | lungs
    labels, count = cc3d.connected_components(both, connectivity=6, return_N=True)
    touches = np.zeros(count + 1, dtype=bool)
    touches[labels[lungs]] = True
    sizes = np.bincount(labels[both], minlength=count + 1) * touches
    second = np.sort(sizes)[-2] if np.count_nonzero(touches) > 1 else sizes.max()
    return (sizes >= max(0.25 * second, 0.01 * sizes.max(), 1)).take(labels)


def _patient(tissue: Mask, lungs: Mask, pieces: Air) -> Mask:
    """Everything within the skin: tissue with its air filled is thick, table and blankets are thin."""
    solid = tissue | lungs | dilated(pieces.hollow, _CORE + 1)
    core = eroded(solid, _PATIENT)
    # Every second row and column tells the pieces apart as well, in a quarter of the time.
    main = largest(np.ascontiguousarray(core[:, ::2, ::2]))
    if not main.any():
        return largest(tissue)
    core &= main.repeat(2, axis=1).repeat(2, axis=2)[:, : core.shape[1], : core.shape[2]]
    body = dilated(core, _PATIENT) & solid | dilated(lungs, 2) & tissue | lungs
    return body | closed(body, _PATIENT) & ~dilated(pieces.outside, _CORE)


def _left_share(lungs: Mask, body: Mask) -> float:
    """Column 0 is the patient's right; the body's middle in the lungs' slices parts the two sides."""
    columns = lungs.sum(axis=(0, 1), dtype=np.int32)
    if not columns.any():
        return 0.5
    across = np.flatnonzero(body[lungs.any(axis=(1, 2))].any(axis=(0, 1)))
    middle = (int(across[0]) + int(across[-1]) + 1) // 2
    return float(columns[middle:].sum() / columns.sum())
