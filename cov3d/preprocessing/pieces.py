"""Classify the pieces of eroded air: lung, outside, gas within the body, or the inside of a table.

Each 3-D piece gets one class. Lung is enclosed by tissue (see `enclosure`), has texture, and is brighter than gas. No
single threshold separates lung from gas: in real scans the median of lung is 36 to 60 grey levels, and gas is 25 to 34.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.enclosure import tissue_directions
from cov3d.preprocessing.gas import measure_gas
from cov3d.preprocessing.morphology import Mask, dilated

_ENCLOSED = 3
"""An enclosed piece has tissue in at least this many of four directions: the field of view may cut one."""

_LEAST = 0.01
"""Smaller pieces, as a share of the largest lung, are not classified."""

_FEWEST = 20
"""Pieces with fewer grid voxels are not classified."""

_SLICES = 20
"""Approximate number of slices by which enclosed pieces are classified."""

# Grey levels above the level of gas.
_GAS = 8.0
"""Three quarters of a small pocket of gas are darker; the folds of its wall are brighter."""

_DARK = 5.0
"""The mean of a large pocket of gas is darker; the mean of dark lungs is 6 above gas."""

_CORNER_GAS = 3.0
"""Air is darker, in places where lung in a corner of the field of view is possible."""

_BRIGHT = 15.0
"""If all but the darkest quarter of a piece is brighter, it is not air, even with blankets in it."""

_FOAM = 25.0
"""Foam and cushions are darker."""

# Shares of a piece.
_AIRY = 0.3
"""A piece in a corner is air if a larger share of it has the level of gas."""

_SMALL = 0.3
"""A piece smaller than this share of the largest lung is more likely stomach than lung."""

_BESIDE = 0.06
"""A piece belongs to the outside if a larger share of it is next to the outside: air between body and table."""

_BESIDE_SURE = 0.3
"""The same for a piece that is surrounded by tissue or too bright to be air: its wall has holes."""

_INSIDE = 0.02
"""If a smaller share of a piece is surrounded by tissue, it is the inside of a table, or lung cut in all slices."""

_SMOOTH = 4.0
"""Below this standard deviation in grey levels, a piece has no texture."""

# Thickness of tissue in grid voxels of about 3 mm.
_MEDIASTINUM = 8
"""A lung has at least this much tissue on one side: heart, vessels and the other chest wall, 17 or more in real scans.
Air in a table, or between table and back, has 2 to 4."""

_WALL = 3
"""Lung has at least this much tissue in front and behind. The inside of a table has 0 or 1 behind."""

_OPEN, _OUTSIDE, _HOLLOW, _TABLE, _LUNG = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Air:
    """The classified pieces of eroded air. All masks are bool and have the grid's shape.

    Attributes:
        lungs: pieces of lung.
        hollow: pockets of gas within the body.
        outside: the air around the body.
        others: outside, pockets of gas and tables. Pieces that are too small to classify are in no mask.
        gas: grey level of gas.
        noise: standard deviation of the levels of gas.
    """

    lungs: Mask
    hollow: Mask
    outside: Mask
    others: Mask
    gas: float
    noise: float


@dataclass(frozen=True)
class _Pieces:
    """The pieces, and the features for their classification; all arrays have the grid's shape.

    Attributes:
        labels: the piece of each voxel, 0 for none. All voxels of a piece are enclosed, or none is.
        enclosed: whether a voxel belongs to an enclosed piece.
        seen: number of directions in which there is tissue.
    """

    labels: NDArray[np.integer]
    enclosed: Mask
    seen: NDArray[np.uint8]
    values: NDArray[np.float32]
    tissue: Mask
    gas: float
    noise: float

    def every(self, step: int) -> "_Pieces":
        """The same for every `step`-th slice, which is enough to classify a piece and takes less time."""
        return _Pieces(
            labels=self.labels[::step],
            enclosed=self.enclosed[::step],
            seen=self.seen[::step],
            values=self.values[::step],
            tissue=self.tissue[::step],
            gas=self.gas,
            noise=self.noise,
        )


def name_pieces(values: NDArray[np.float32], tissue: Mask, core: Mask) -> Air:
    """Classify the pieces of eroded air.

    Args:
        values: float32 (depth, height, width), grey levels of the grid.
        tissue: bool, same shape.
        core: bool, same shape: the eroded air.
    """
    seen = tissue_directions(tissue)
    enclosed = core & (seen >= _ENCLOSED)
    gas, noise = measure_gas(values, core & (seen <= 1), core)
    kinds = core.view(np.uint8) + enclosed.view(np.uint8)
    labels, count = cc3d.connected_components(kinds, connectivity=6, return_N=True)
    pieces = _Pieces(labels, enclosed, seen, values, tissue, gas, noise)
    names = np.zeros(count + 1, dtype=np.uint8)
    step = max(1, len(values) // _SLICES)
    some = pieces.every(step)
    corners = _in_corners(pieces, core ^ enclosed, names)
    corners[corners] = _have_mediastinum(some, np.flatnonzero(corners))
    names[(names == _OPEN) & ~corners] = _OUTSIDE
    if enclosed.any():
        _name_enclosed(some, names, fewest=_FEWEST // step)
    named = names.take(labels)
    lungs = named == _LUNG
    beside = np.unique(labels[dilated(lungs, 1) & core])
    if corners[beside].any():
        names[beside[corners[beside]]] = _LUNG
        lungs = names.take(labels) == _LUNG
    return Air(
        lungs=lungs,
        hollow=named == _HOLLOW,
        outside=named == _OUTSIDE,
        others=(named > 0) & ~lungs,
        gas=gas,
        noise=noise,
    )


def _in_corners(pieces: _Pieces, open_air: Mask, names: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the pieces that tissue does not enclose as open, and return which may be lung in a corner of the image.

    Lung in a corner of the field of view has tissue in two directions. So has some air outside, but it is darker.
    """
    which, grey = pieces.labels[open_air], pieces.values[open_air]
    count = len(names)
    sizes = np.bincount(which, minlength=count)
    in_two = np.bincount(which[pieces.seen[open_air] == 2], minlength=count)

    def share_below(level: float) -> NDArray[np.float64]:
        return np.bincount(which[grey < pieces.gas + level], minlength=count) / np.maximum(sizes, 1)

    airy, dark = (share_below(level + pieces.noise) > _AIRY for level in (_DARK, _CORNER_GAS))
    corners = (in_two > 0.5 * sizes) & ~airy | (in_two > 0.95 * sizes) & ~dark | (share_below(_BRIGHT) < 0.25)
    names[sizes > 0] = _OPEN
    return corners & (sizes > 0)


def _have_mediastinum(pieces: _Pieces, among: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether each of the pieces `among` has thick tissue on one side. Lung has; the air outside has not."""
    if not among.size:
        return np.zeros(0, dtype=bool)
    places = np.isin(pieces.labels, among)
    which, thickness = pieces.labels[places], _thickness_beside(pieces.tissue, places)
    found = []
    for piece in among:
        mine = which == piece
        # A piece too small to appear in these slices is kept.
        found.append(not mine.any() or max(np.median(side[mine]) for side in thickness) >= _MEDIASTINUM)
    return np.array(found, dtype=bool)


def _name_enclosed(pieces: _Pieces, names: NDArray[np.uint8], fewest: int) -> None:
    """Classify the pieces that tissue encloses, the largest first; small ones are left out."""
    index = np.flatnonzero(pieces.enclosed)
    which, grey = pieces.labels[pieces.enclosed], pieces.values[pieces.enclosed]
    sizes = np.bincount(which, minlength=1)
    all_round = pieces.seen[pieces.enclosed] == 4
    beside = dilated((names == _OUTSIDE).take(pieces.labels), 1)[pieces.enclosed]
    thickness = _thickness_beside(pieces.tissue, pieces.enclosed)
    large = 0
    for piece in np.argsort(-sizes):
        if sizes[piece] < max(_LEAST * large, fewest):
            break
        mine = which == piece
        inside = float(all_round[mine].mean())
        bright = np.percentile(grey[mine], 25) > pieces.gas + _BRIGHT
        most = _BESIDE_SURE if inside > 0.95 or bright else _BESIDE
        beside_mediastinum = max(np.median(side[mine]) for side in thickness) >= _MEDIASTINUM
        in_table = inside < _INSIDE and not _between_walls(pieces.tissue, index[mine])
        if in_table or not beside_mediastinum or beside[mine].mean() > most:
            names[piece] = _TABLE
        elif _is_gas(grey[mine], pieces.gas, pieces.noise, small=sizes[piece] < _SMALL * large):
            names[piece] = _HOLLOW
        elif _is_foam(grey[mine], pieces.gas):
            names[piece] = _TABLE
        else:
            names[piece] = _LUNG
            large = max(large, int(sizes[piece]))


def _thickness_beside(tissue: Mask, places: Mask) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Amount of tissue to the right and to the left of `places`, in their rows, in voxels."""
    summed = np.cumsum(tissue, axis=2, dtype=np.uint16)
    right = summed[places]
    return right, np.broadcast_to(summed[:, :, -1:], summed.shape)[places] - right


def _between_walls(tissue: Mask, index: NDArray[np.intp]) -> bool:
    """Whether the voxels at flat `index` have at least a chest wall's thickness of tissue in front and behind."""
    z, y, x = np.unravel_index(index, tissue.shape)
    summed = np.cumsum(tissue, axis=1, dtype=np.uint16)
    before = summed[z, y, x]
    return bool(min(np.median(before), np.median(summed[z, -1, x] - before)) >= _WALL)


def _is_gas(grey: NDArray[np.float32], gas: float, noise: float, small: bool) -> bool:
    """Whether a piece is a pocket of gas. The test is less strict for a `small` piece beside a larger lung."""
    if small and np.percentile(grey, 75) < gas + _GAS + 0.7 * noise:
        return True
    return bool(grey.mean() < gas + _DARK and grey.std() < max(6.0, 1.6 * noise))


def _is_foam(grey: NDArray[np.float32], gas: float) -> bool:
    return bool(grey.std() < _SMOOTH and grey.mean() < gas + _FOAM)
