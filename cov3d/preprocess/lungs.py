"""Reduced grid → masks of body and lungs, by 3-D morphology (section 3.1, after CT-ORG: Rister et al. 2020).

CT-ORG's rule is kept: lungs are the large pockets of air that no slice connects to the outside. What it leaves open
is settled here by shape before density, because the density of lung and of gas lie close together in real scans (a
median of 37 grey levels against 25 to 45): airways and bowel gas are too thin for the opening that finds the lungs'
cores, and a wide pocket counts as gas only if it is both uniform and as dark as the air around the body. A pocket
that the edge of the image cuts open is lung if its texture is.
"""

from dataclasses import dataclass, replace

import cc3d
import numpy as np
from numpy.typing import NDArray

from cov3d.preprocess.grid import TISSUE, Grid, reduce, trunk, with_thin_walls
from cov3d.preprocess.morphology import Mask, dilated, eroded
from cov3d.volume import hounsfield_to_grey

OPAQUE = hounsfield_to_grey(-650.0)
"""Above: lung with less air than it should have. In healthy lungs 3 to 5 % is: vessels."""

_OFF_THE_SKIN = (3, 5)
"""Grid voxels in front of and behind the trunk at which the air around it is looked for."""

_PADDING = 4.0
"""At or below: no measurement (outside the round field of view), not air."""

_CORE = 3
"""Half-width of the square opening, in grid voxels of about 3 mm: wider than a trachea, narrower than a lung."""

_CLOSING = 2
"""Half-width of the square closing that fills the lungs' vessels."""

_GAS = 5.0
"""Grey levels above the level of gas that still count as gas."""

_FOAM = 25.0
"""Grey levels above the level of gas that foam and cushions reach: no texture, and so no lung."""


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
    padding = _padding(values)
    core = trunk(tissue, padding)
    around = ~(with_thin_walls(core, tissue) | padding)
    outside, gas, noise = _outside(values, around, padding, core)
    body = ~(outside | padding)
    lungs = _lungs_in_air(values, body & ~tissue, gas, noise)
    inner = values[eroded(lungs, 1)]
    return Segmentation(
        grid=grid,
        lungs=lungs,
        body=body,
        gas=gas,
        noise=noise,
        opacity=float((inner > OPAQUE).mean()) if inner.size else 0.0,
        left_share=_left_share(lungs, body),
    )


def _padding(values: NDArray[np.float32]) -> Mask:
    """What lies outside a round field of view, with the mixed voxels at its rim; empty where there is next to none."""
    padding = values <= _PADDING
    if np.count_nonzero(padding) < 0.005 * padding.size:
        return np.zeros_like(padding)
    return dilated(padding, 1)


def _outside(values: NDArray[np.float32], around: Mask, padding: Mask, core: Mask) -> tuple[Mask, float, float]:
    """The air around the body, its grey level and the noise in it.

    Pockets are taken slice by slice: within one slice nothing inside a whole chest wall is joined to the border.
    Some places are surely outside; a pocket that meets the border elsewhere is outside if it is mostly gas, else it
    is lung that the field of view cuts.
    """
    depth, height, width = values.shape
    # An empty row between slices keeps them apart in one labelling of a tall plane.
    tall = np.zeros((depth, height + 1, width), dtype=bool)
    tall[:, :height] = around
    labels = cc3d.connected_components(tall.reshape(-1, width), connectivity=4).reshape(tall.shape)[:, :height]
    count = int(labels.max()) + 1
    meets, sure = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        meets[face] = True
    if padding.any():
        meets[labels[dilated(padding, 1)]] = True
    for place in _surely_outside(labels, padding, core):
        if (place > 0).any(axis=1).mean() > 0.85:  # else the field of view is within the chest, and it may be lung
            sure[place] = True
    meets[0] = sure[0] = False
    gas, noise = _gas(values, _of(labels, sure), around)
    doubtful = _of(labels, meets & ~sure)
    which = labels[doubtful]
    sizes = np.bincount(which, minlength=count)
    airy = np.bincount(which[values[doubtful] < gas + _GAS + 1.5 * noise], minlength=count)
    lung_like = (airy < 0.5 * sizes) & (sizes >= 12)
    return _of(labels, meets & ~lung_like), gas, noise


def _of(labels: NDArray[np.integer], chosen: NDArray[np.bool_]) -> Mask:
    """Where a label is among those that `chosen` has True for; `take` needs half the time of indexing."""
    return chosen.take(labels)


def _surely_outside(labels: NDArray[np.integer], padding: Mask, core: Mask) -> list[NDArray[np.integer]]:
    """Labels, (slices, n), at places where no lung is: the image's corners, and in front of and behind the middle of
    the trunk, both at its skin (a table may hide the rest) and at the border (a round field of view has no corners)."""
    _, height, width = core.shape
    columns = core.sum(axis=(0, 1), dtype=np.int32)
    middle = round(float((columns * np.arange(width)).sum() / max(columns.sum(), 1)))
    band = slice(max(0, middle - width // 25), middle + width // 25 + 1)
    seen, trunk_here = ~padding[:, :, band], core[:, :, band]
    ends = [seen.argmax(axis=1), height - 1 - seen[:, ::-1].argmax(axis=1)]
    some, first, last = trunk_here.any(axis=1), trunk_here.argmax(axis=1), trunk_here[:, ::-1].argmax(axis=1)
    for off in _OFF_THE_SKIN:
        front = np.where(some, first - off, 0)
        back = np.where(some, height - 1 - last + off, height - 1)
        ends += [np.maximum(front, ends[0]), np.minimum(back, ends[1])]
    places = [np.take_along_axis(labels[:, :, band], row[:, np.newaxis], axis=1)[:, 0] for row in ends]
    return places + [labels[:, row, column, np.newaxis] for row in (0, -1) for column in (0, -1)]


def _gas(values: NDArray[np.float32], air: Mask, around: Mask) -> tuple[float, float]:
    """Grey level of gas and its deviation, from the darker half of the air around the body (foam is in the other)."""
    found = values[air]
    if found.size >= 200:
        low, level = np.percentile(found[:: 1 + found.size // 50_000], (5, 30))
        return float(level), float(max(level - low, 0.0) / 1.1)
    inside = values[around]  # no air around the body is in view: the darkest in it is airway
    return (float(np.percentile(inside, 2)), 1.0) if inside.size else (hounsfield_to_grey(-1000.0), 1.0)


def _lungs_in_air(values: NDArray[np.float32], air: Mask, gas: float, noise: float) -> Mask:
    """The lungs among the pockets of air within the body, looked for in the box that holds them: half of the grid.

    There is room in it for all that is done to them, so that the lungs are those that the whole grid would give.
    """
    lungs = np.zeros_like(air)
    if air.any():
        box = _around(air, _CLOSING + 1)
        lungs[box] = _lungs(values[box], air[box], gas, noise)
    return lungs


def _lungs(values: NDArray[np.float32], air: Mask, gas: float, noise: float) -> Mask:
    """The lungs among pockets of air."""
    core = eroded(air, _CORE)
    labels = cc3d.connected_components(core, connectivity=6)
    index = np.flatnonzero(core)
    if not index.size:
        return np.zeros_like(air)
    which, grey = labels.ravel()[index], values.ravel()[index].astype(np.float64)
    sizes = np.bincount(which)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, grey) / sizes
        spread = np.sqrt(np.maximum(np.bincount(which, grey**2) / sizes - mean**2, 0))
    foam = (spread < 4.0) & (mean < gas + _FOAM)
    nothing = foam | (mean < gas + _GAS) & (spread < max(6.0, 1.6 * noise))
    kept = (sizes >= max(0.02 * sizes[1:].max(), 20)) & ~nothing
    kept[0] = False
    if not kept.any():
        return np.zeros_like(air)
    # Back to the full width, and a little along the tapering ends, but not up the trachea.
    reach = dilated(_of(labels, kept), _CORE + 2)
    near = reach.copy()
    for by in range(1, 4):
        near[by:] |= reach[:-by]
        near[:-by] |= reach[by:]
    lungs = near & air
    lungs |= _tips(values, air & ~near, lungs, gas + _GAS + noise)
    box = _around(lungs, _CLOSING + 1)
    lungs[box] = _filled(_main_pieces(lungs[box]))
    return lungs


def _around(mask: Mask, room: int) -> tuple[slice, slice, slice]:
    """The box of a mask with `room` voxels around it; what is done within it costs half of what it costs outside."""
    z, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    spans = [slice(max(0, int(along[0]) - room), int(along[-1]) + 1 + room) for along in (z, y, x)]
    return spans[0], spans[1], spans[2]


def _tips(values: NDArray[np.float32], rest: Mask, lungs: Mask, gas: float) -> Mask:
    """What tapers off from the lungs too far to be reached: pockets that touch them, airways and bowel gas aside."""
    pockets = rest & ~dilated(values < gas, 1)
    slices, columns = (np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 1)))
    middle, room = (int(columns[0]) + int(columns[-1])) // 2, len(columns) // 8
    for beyond in (slice(0, int(slices[0])), slice(int(slices[-1]) + 1, None)):
        pockets[beyond, :, middle - room : middle + room + 1] = False  # the windpipe leads on there, lungs do not
    labels, count = cc3d.connected_components(pockets, connectivity=6, return_N=True)
    touches = np.zeros(count + 1, dtype=bool)
    touches[labels[dilated(lungs, 1)]] = True
    touches[0] = False
    return _of(labels, touches)


def _main_pieces(mask: Mask) -> Mask:
    """The two lungs, which may be one piece or two, and anything nearly as large as the smaller (a split lobe)."""
    labels = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    second = np.sort(sizes)[-2] if len(sizes) > 2 else sizes.max()
    return _of(labels, sizes >= max(0.25 * second, 0.01 * sizes.max(), 1))


def _filled(lungs: Mask) -> Mask:
    """The lungs with their vessels: an in-plane closing."""
    return eroded(dilated(lungs, _CLOSING), _CLOSING)


def _left_share(lungs: Mask, body: Mask) -> float:
    """Column 0 is the patient's right; the body's middle in the lungs' slices parts the two sides."""
    columns = lungs.sum(axis=(0, 1), dtype=np.int32)
    if not columns.any():
        return 0.5
    across = np.flatnonzero(body[lungs.any(axis=(1, 2))].any(axis=(0, 1)))
    middle = (int(across[0]) + int(across[-1]) + 1) // 2
    return float(columns[middle:].sum() / columns.sum())
