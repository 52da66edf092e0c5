"""The extent of the lungs including consolidated parts, estimated from the rib cage.

Consolidated lung looks like the tissue around it, but the rib cage does not change. If the aerated lung ends well
before the ribs, the box is extended to the ribs. If the lowest slices show lung in front only, the base is
consolidated, and the box is extended downwards in proportion to the missing lung at the back.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.morphology import Mask
from cov3d.volume import hounsfield_to_grey

BONE = hounsfield_to_grey(115.0)
"""Ribs are brighter at the resolution of the grid; muscle and most organs with contrast medium are darker."""

MUSCLE = hounsfield_to_grey(40.0)

FILLED = 0.28
"""Healthy lungs fill 0.3 to 0.45 of their box with air. With less, a part is consolidated, under fluid or missing."""

BARELY_FILLED = 0.20

SHORT = 0.065
"""Lung that ends further than this from the ribs, as a share of the lungs' extent, is consolidated there if other
signs agree. Healthy lungs end within 0.02 to 0.065 of the detected ribs."""

SHORT_FOR_SURE = 0.10
"""Lung that ends further than this from the ribs is consolidated there, whatever the other signs are."""

_SHORT_RAMP = 0.015
"""The edge starts to move towards the ribs at this distance (share of the extent) below `short`."""

_CUT = 0.3
"""The lungs are cut off above if the first slice holds more than this share of their largest area."""

_RIB = 3
"""Minimum number of adjacent grid voxels of bone that count as a rib."""

_BETWEEN_RIBS = 6
"""Maximum number of rows without bone between two ribs in the same slice."""

_STEADY = 0.7
"""Minimum share of the slices in which the table is at the same place."""

_SOFT = (170.0, 235.0)
"""Grey levels of soft tissue, from fat to contrast medium, in which the noise is measured."""

WALL = 0.03
"""Distance between lung and detected ribs, as a share of the lungs' extent: pleura, and half a rib."""

BASE_HEALTHY = 0.10
"""Maximum distance in health from lung to posterior ribs in the lowest slices, as a share of the lungs' extent."""

BASE_GAIN = 0.30
"""Depth added below, as a share of the lungs' depth, per extent by which the lowest lung misses the back."""

BASE_MOST = 0.25

AIRWAY = 0.47
"""In complete lungs, trachea and main bronchi are visible in the upper 0.47 to 0.55 of the slices."""

AIRWAY_MOST = 0.45

_UPPER = 0.3
"""Share of the lungs' slices, from the top, in which the trachea is the largest piece of gas in the middle."""

FRONT = 0.03
"""Margin in front of lungs with little air, as a share of their extent; the ribs there are cartilage, not bone."""

ONE_SIDED = 0.30
"""A lung with less than this share of both lungs is collapsed, consolidated, under fluid or missing."""


@dataclass(frozen=True)
class Extent:
    """A half-open extent in grid voxels along (depth, height, width)."""

    first: tuple[float, float, float]
    last: tuple[float, float, float]


def bounds(mask: Mask) -> Extent:
    """The extent of a mask that is not empty."""
    z, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return Extent((float(z[0]), float(y[0]), float(x[0])), (float(z[-1]) + 1, float(y[-1]) + 1, float(x[-1]) + 1))


def reach(segmentation: Segmentation) -> Extent:
    """The extent of the lungs with their consolidated parts. There must be lungs, and slice 0 must be at the head.

    Every sign acts gradually. With hard thresholds, one grey level of noise could change the box abruptly.
    """
    lungs = segmentation.lungs
    bone, steady = _bone(segmentation)
    from_middle = across(segmentation.body)
    prone = _spine_in_front(bone, from_middle, lungs)
    bone &= ~steady
    if prone:
        lungs, bone = lungs[:, ::-1], bone[:, ::-1]
    aerated = bounds(lungs)
    (top, front, right), (bottom, back, left) = aerated.first, aerated.last
    height, width, depth = back - front, left - right, bottom - top
    lower = slice(int(top + bottom) // 2, int(bottom))  # the shoulder blades end above
    cage, base_gap = _behind(lungs, bone, from_middle, lower, height)
    rows = slice(int(front + 0.3 * height), int(front + 0.75 * height) + 1)
    flank = bone[lower, rows]
    right_cage, left_cage = _beside(flank[..., ::-1], -from_middle[lower, ::-1]), _beside(flank, from_middle[lower])

    filled = int(np.count_nonzero(lungs)) / (depth * height * width)
    emptied = _degree(filled, FILLED + 0.03, FILLED)
    consolidated = max(emptied, _degree(base_gap, BASE_HEALTHY - 0.02, BASE_HEALTHY))
    barely = _degree(filled, BARELY_FILLED + 0.02, BARELY_FILLED)
    short = SHORT_FOR_SURE + consolidated * (SHORT - SHORT_FOR_SURE) - barely * SHORT
    back += _to_cage(back, cage, height, short)
    one_sided = not ONE_SIDED < segmentation.left_share < 1 - ONE_SIDED
    sides = 1.0 if one_sided else consolidated
    left += sides * _to_cage(left, left_cage, width, short)
    right -= sides * _to_cage(flank.shape[2] - right, right_cage, width, short)
    front -= barely * FRONT * height
    by_gap = min(BASE_GAIN * (base_gap - BASE_HEALTHY), BASE_MOST)
    by_airway = 0.0
    if not is_cut_above(lungs):
        by_airway = min(_airway_run(segmentation, from_middle, int(top), int(bottom)) / AIRWAY - 1, AIRWAY_MOST)
    emptied = max(emptied, _degree(base_gap, BASE_HEALTHY + 0.02, BASE_HEALTHY + 0.10))
    bottom += max(by_gap, emptied * by_airway, 0.0) * depth
    if prone:
        front, back = lungs.shape[1] - back, lungs.shape[1] - front
    return Extent(first=(top, front, right), last=(bottom, back, left))


def is_cut_above(lungs: Mask) -> bool:
    """Whether the first slice cuts the lungs, so that their top is not visible."""
    areas = lungs.sum(axis=(1, 2), dtype=np.int32)
    return bool(areas[0] > _CUT * areas.max())


def _degree(value: float, none: float, full: float) -> float:
    """Position of `value` between `none` (0) and `full` (1), clipped."""
    return float(np.clip((value - none) / (full - none), 0.0, 1.0))


def _bone(segmentation: Segmentation) -> tuple[Mask, Mask]:
    """Bone: brighter than the muscle of this scan, by more than its noise.

    Returns:
        Bone, of the grid's shape; and places that are this bright in most slices, shape (1, height, width): the table
        and the spine, but not the ribs, which slant.
    """
    values, body = segmentation.grid.values, segmentation.body
    some = max(1, len(values) // 8)
    bright = values > _bone_level(values[::some], body[::some])
    times = bright.sum(axis=0, dtype=np.uint16, keepdims=True)
    return bright & body, times > _STEADY * len(bright)


def _bone_level(values: NDArray[np.float32], body: Mask) -> float:
    soft = body & (values > _SOFT[0]) & (values < _SOFT[1])
    pairs = soft[..., 1:] & soft[..., :-1]
    if not pairs.any():
        return BONE
    steps = np.abs(values[..., 1:][pairs] - values[..., :-1][pairs])
    noise = float(np.median(steps)) / (0.6745 * np.sqrt(2))
    lowest = round(MUSCLE) - 10
    levels = np.bincount(values[soft].astype(np.intp), minlength=256)[lowest : lowest + 21]
    muscle = max(MUSCLE, lowest + int(levels.argmax()) + 0.5)
    return muscle + max(BONE - MUSCLE, 3.5 * noise)


def _airway_run(segmentation: Segmentation, from_middle: NDArray[np.float64], top: int, bottom: int) -> float:
    """Share of the lungs' slices, from the top, through which trachea and main bronchi can be followed.

    They form one piece of gas in the body's middle, with gaps of at most two slices. Stomach and bowel are other
    pieces.
    """
    middle = np.abs(from_middle[:bottom]) < 0.2
    columns = np.flatnonzero(middle.any(axis=0))
    part = slice(0, bottom), slice(None), slice(int(columns[0]), int(columns[-1]) + 1)
    gas = segmentation.grid.values[part] < segmentation.gas + 12 + 2 * segmentation.noise
    gas &= segmentation.body[part] & ~segmentation.lungs[part] & middle[:, np.newaxis, part[2]]
    joined = gas.copy()
    joined[1:] |= gas[:-1]
    joined[:-1] |= gas[1:]
    labels = cc3d.connected_components(joined, connectivity=26)
    upper = labels[: top + max(2, round(_UPPER * (bottom - top)))]
    if not upper.any():
        return 0.0
    windpipe = np.bincount(upper[upper > 0]).argmax()
    last = np.flatnonzero(((labels == windpipe) & gas).sum(axis=(1, 2)) >= 4)
    return max(0.0, float(last[-1] - top) / (bottom - top)) if last.size else 0.0


def _to_cage(edge: float, cage: float, extent: float, short: float) -> float:
    """Distance by which an edge of the lungs moves towards the rib cage; 0 if the cage is unknown (NaN)."""
    if np.isnan(cage):
        return 0.0
    target = max(0.0, cage - WALL * extent - edge)
    return target * _degree((cage - edge) / extent, short - _SHORT_RAMP, short)


def across(body: Mask) -> NDArray[np.float64]:
    """Distance of each column from the body's middle, in half-widths of the body in that slice; (depth, width)."""
    inside: Mask = np.any(body, axis=1)
    width = inside.shape[1]
    first = np.where(inside.any(axis=1), inside.argmax(axis=1), 0)
    last = np.where(inside.any(axis=1), width - inside[:, ::-1].argmax(axis=1), width)
    half = np.maximum((last - first) / 2, 1.0)
    return (np.arange(width) + 0.5 - ((first + last) / 2)[:, np.newaxis]) / half[:, np.newaxis]


def _spine_in_front(bone: Mask, from_middle: NDArray[np.float64], lungs: Mask) -> bool:
    """Whether the spine is in front of the lungs' middle: the patient was prone, or the image is upside down."""
    rows = (bone & (np.abs(from_middle) < 0.15)[:, np.newaxis]).sum(axis=(0, 2))
    hit = np.flatnonzero(lungs.any(axis=(0, 2)))
    middle = (int(hit[0]) + int(hit[-1])) // 2
    return bool(rows[:middle].sum() > rows[middle:].sum())


def _behind(
    lungs: Mask, bone: Mask, from_middle: NDArray[np.float64], lower: slice, extent: float
) -> tuple[float, float]:
    """Position of the ribs behind the lungs, and the gap between them and the lowest quarter of the lungs.

    Returns:
        Row at which the posterior ribs end, or NaN; gap as a share of `extent`, 0 if no ribs are found.
    """
    beside_spine = (np.abs(from_middle) > 0.15) & (np.abs(from_middle) < 0.75)
    # Fewer voxels of bone are skin on the table, or noise.
    ribs: Mask = (bone & beside_spine[:, np.newaxis])[lower].sum(axis=2) >= _RIB
    lung: Mask = np.any(lungs[lower], axis=2)
    found: Mask = np.any(ribs, axis=1)
    if found.sum() < 3:
        return np.nan, 0.0
    lung_end = ribs.shape[1] - lung[:, ::-1].argmax(axis=1)
    end = _first_run(ribs, np.where(lung.any(axis=1), lung_end - 1, 0))
    lowest = np.flatnonzero(found & lung.any(axis=1))
    lowest = lowest[lowest >= len(found) // 2]  # half of the lower half: the lowest quarter
    gap = float(np.median(end[lowest] - 1 - lung_end[lowest]) / extent) if lowest.size else 0.0
    return float(np.percentile(end[found], 80)) - 1, gap


def _first_run(ribs: Mask, start: NDArray[np.integer]) -> NDArray[np.integer]:
    """For each slice, the row at which the first ribs from row `start` on end; the table's top may follow.

    Args:
        ribs: shape (slices, rows). Gaps of `_BETWEEN_RIBS` rows are bridged.
        start: shape (slices,).
    """
    rows = np.arange(ribs.shape[1])
    run = ribs & (rows >= start[:, np.newaxis])
    last = ribs.shape[1] - ribs[:, ::-1].argmax(axis=1)
    some = run.any(axis=1)
    bridged = run.copy()
    for gap in range(1, _BETWEEN_RIBS + 1):
        bridged[:, gap:] |= run[:, :-gap]
    ended = ~bridged & (rows > bridged.argmax(axis=1)[:, np.newaxis])
    return np.where(some, np.where(ended.any(axis=1), ended.argmax(axis=1) - _BETWEEN_RIBS, last), last)


def _beside(bone: Mask, from_middle: NDArray[np.float64]) -> float:
    """Column at which the ribs begin, from the middle to higher columns, or NaN; an arm may follow."""
    ribs: Mask = bone & (from_middle > 0.45)[:, np.newaxis]
    found: Mask = np.any(ribs, axis=2)
    if found.any(axis=1).sum() < 3:
        return np.nan
    return float(np.percentile(ribs.argmax(axis=2)[found], 80))
