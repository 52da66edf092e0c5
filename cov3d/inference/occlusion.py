"""Zone occlusion: how the log-odds of COVID-19 change when a zone of the lungs is replaced by healthy-looking lung.

Every voxel of the zone gets the grey level of this scan's aerated lung. A zone that speaks for COVID-19 lowers the
log-odds when it is replaced, so its value is positive. It tests the prediction, unlike a map, which only describes the
network's arithmetic.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing.lungs import OPAQUE
from cov3d.preprocessing.zones import LEFT, RIGHT, ZONES

LUNGS = {"right lung": RIGHT, "left lung": LEFT}
PARTS: Mapping[str, tuple[int, ...]] = {**{name: (number + 1,) for number, name in enumerate(ZONES)}, **LUNGS}
"""What is replaced, by name: the six zones, then each lung."""

_CERTAIN = 1e-7
"""Probabilities nearer to 0 or 1 have no meaning in float32."""


def occluded(voxels: NDArray[np.uint8], zones: NDArray[np.uint8], part: Sequence[int]) -> NDArray[np.uint8]:
    """A crop with some zones replaced by the level of aerated lung.

    Args:
        voxels: the input of a network, `uint8` (depth, height, width).
        zones: of each voxel, see `zones.lung_zones`.
        part: the zones to replace.
    """
    inside = voxels[zones > 0]
    aerated = inside[inside <= OPAQUE]
    level = np.median(aerated if len(aerated) else inside)
    return np.where(np.isin(zones, part), np.uint8(round(float(level))), voxels)


def zone_effects(
    presence: float, predict: Callable[[Sequence[int]], float], zones: NDArray[np.uint8]
) -> dict[str, float]:
    """What each part adds to the log-odds of COVID-19, by name; 0 for a part without lung.

    Args:
        presence: probability of COVID-19 of the scan.
        predict: the same with some zones replaced.
        zones: of each voxel of the crop.
    """
    there = set(np.unique(zones).tolist())
    whole = log_odds(presence)
    return {name: whole - log_odds(predict(part)) if there & set(part) else 0.0 for name, part in PARTS.items()}


def log_odds(probability: float) -> float:
    """ln(p / (1 − p)), with p kept away from 0 and 1 by as much as float32 resolves."""
    kept = min(max(probability, _CERTAIN), 1 - _CERTAIN)
    return float(np.log(kept) - np.log1p(-kept))
