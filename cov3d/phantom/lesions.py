"""Findings in the lungs: COVID-19's ground glass and consolidation, and other findings.

Involvement is the share of lung voxels in lesions. Lesions are the places where a smooth score (random, and higher at
the edge, the back and the base of the lungs) exceeds a threshold. The threshold is a quantile of the score, so the
requested involvement is met exactly. Adding blobs until enough is covered would only approximate it.

Involvement is a share of both lungs even if only one has lesions. One lung then has all of them, up to `FULLEST` of it.
Mild and moderate scans keep their range of involvement. In severe and critical scans the lung is almost filled, which
is less than their range; critical scans have more consolidation.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from cov3d.labels import NON_COVID
from cov3d.phantom.geometry import STEP, Array

INVOLVEMENT = {
    "mild": (0.03, 0.25),
    "moderate": (0.25, 0.50),
    "severe": (0.50, 0.75),
    "critical": (0.75, 0.95),
}
"""Range of involvement of each severity, as in MosMedData's classes."""

TARGETS = {"mild": (0.08, 0.23), "moderate": (0.27, 0.48), "severe": (0.52, 0.73), "critical": (0.77, 0.92)}
"""Ranges from which the involvement is drawn: narrower, because a mask consists of whole voxels."""

DENSE_SHARE = {
    "mild": (0.0, 0.10),
    "moderate": (0.04, 0.20),
    "severe": (0.08, 0.30),
    "critical": (0.15, 0.42),
}
"""Share of a lesion that is consolidation and not ground glass."""

FULLEST = 0.95
"""Largest share of a lung in lesions, if only this lung has lesions."""

Lungs = Literal["both", "left", "right"]


@dataclass(frozen=True)
class Findings:
    """Findings in the lungs of one scan.

    Attributes:
        category: a severity, or non-covid.
        involvement: share of the lungs in lesions. dense: share of the lesions that is consolidation.
        ground_glass: density of ground glass above lung, HU; border: softness of its edge.
        patch: size of the lesions, mm. periphery, back, base: preference of lesions for each.
        band: thickness (mm) and density (HU above lung) of collapsed lung along the back; 0, 0 for none.
        nodules: number of small round nodules.
        effusion: depth of fluid behind the right and left lung, as a share of the chest's half-depth.
        holes: reduction of density in the upper lungs by emphysema, HU.
        white: the lung without air, left or right; empty for none.
        lungs: the lungs with lesions.
        hidden: whether the lesions are left out of the voxels. They stay in the mask.
    """

    category: str
    involvement: float
    dense: float
    ground_glass: float
    border: float
    patch: float
    periphery: float
    back: float
    base: float
    band: tuple[float, float]
    nodules: int
    effusion: tuple[float, float]
    holes: float
    white: Literal["", "left", "right"] = ""
    lungs: Lungs = "both"
    hidden: bool = False


def draw_findings(category: str, rng: np.random.Generator) -> Findings:
    """Random findings for a scan of this category."""
    sick = category != NON_COVID
    # Other findings are equally frequent with and without COVID-19, so that they do not reveal the category.
    band = (float(rng.uniform(4, 14)), float(rng.uniform(80, 320))) if rng.random() < 0.45 else (0.0, 0.0)
    wet = rng.random() < 0.10
    sides = [float(rng.uniform(0.08, 0.35)) if wet and rng.random() < 0.7 else 0.0 for _ in range(2)]
    return Findings(
        category=category,
        involvement=float(rng.uniform(*TARGETS[category])) if sick else 0.0,
        dense=float(rng.uniform(*DENSE_SHARE[category])) if sick else 0.0,
        ground_glass=float(rng.uniform(240, 400)),
        border=float(rng.uniform(0.2, 0.8)),
        patch=float(rng.uniform(10, 20)),
        periphery=float(rng.uniform(0.8, 2.2)),
        back=float(rng.uniform(0.2, 1.0)),
        base=float(rng.uniform(0.1, 1.0)),
        band=band,
        nodules=int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
        effusion=(sides[0], sides[1]),
        holes=float(rng.uniform(30, 110)) if rng.random() < 0.18 else 0.0,
    )


def noise(shape: tuple[int, ...], rise: float, size: float, rng: np.random.Generator) -> Array:
    """Smooth random field with mean 0 and standard deviation 1.

    `shape` is (nz, ny, nx) of the coarse grid, `rise` the distance between planes, `size` the width of bumps (mm).
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    field = gaussian_filter(white, (size / rise, size / STEP, size / STEP), mode="wrap", truncate=2.5)
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def share_of_one_lung(involvement: float, one: Array, both: Array) -> float:
    """The share of one lung in lesions that gives `involvement` of both lungs, or `FULLEST` if that is less.

    `one` and `both` are the shares of lung around each node, of the one lung and of both.
    """
    volume = float(one.sum())
    return min(involvement * float(both.sum()) / volume, FULLEST) if volume else 0.0


def lesion_levels(
    findings: Findings,
    depth: Array,
    weight: Array,
    share: float,
    along: Array,
    down: Array,
    rise: float,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Level fields of all lesions and of consolidation: positive inside, about 1 in the middle.

    Args:
        depth: (nz, ny, nx), mm below the lung's surface.
        weight: same shape, share of lung with lesions around each node.
        share: share of the weight in lesions.
        along, down: same shape, position from front (-1) to back (1) and from top (0) to base (1).
        rise: distance between planes, mm.
    """
    shape, size = depth.shape, findings.patch
    # With bumps under 6 mm, the coarse grid would be visible.
    bumps = 0.8 * noise(shape, rise, size, rng) + 0.4 * noise(shape, rise, max(0.4 * size, 6.0), rng)
    place = findings.back * along + findings.base * 1.4 * (down - 0.5)
    score: Array = bumps + place + np.float32(findings.periphery) * np.exp(-np.maximum(depth, 0) / 14)
    score -= _threshold(score, weight, share)
    inside = np.where(score > 0, weight, np.float32(0))
    core: Array = 0.6 * np.minimum(score, 1.2) + 0.5 * findings.back * along
    core += 0.55 * noise(shape, rise, 0.7 * size, rng)
    core -= _threshold(core, inside, findings.dense)
    return score, np.minimum(core, score)


def _threshold(score: Array, weight: Array, share: float) -> np.float32:
    """The level exceeded by `share` of the weight."""
    chosen = np.flatnonzero(weight.ravel() > 0.02)
    if len(chosen) == 0 or share <= 0:
        return np.float32(score.max(initial=0) + 10)
    values, weights = score.ravel()[chosen], weight.ravel()[chosen].astype(np.float64)
    order = np.argsort(values)
    gathered = np.cumsum(weights[order])
    place = int(np.searchsorted(gathered, (1 - share) * gathered[-1]))
    return np.float32(values[order[min(place, len(order) - 1)]])
