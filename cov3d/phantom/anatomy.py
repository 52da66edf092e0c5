"""The random parameters of a synthetic person, and the outlines computed from them.

The numbers are rounded values for adults from anatomy textbooks. None is measured on a scan.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

# Outlines down the body. The first column is the height u = z / lung height (0 at the lungs' top, 1 at their
# lowest point); widths are shares of the rib cage's half-width, fronts and backs shares of its half-depth.
_OUTLINES = np.array(
    [
        # u,   cage: half, front, back,   trunk without fat: half, front, back
        [-0.60, 0.22, -0.20, 0.45, 0.50, -0.50, 0.85],
        [-0.36, 0.24, -0.18, 0.46, 0.56, -0.44, 0.92],
        [-0.25, 0.28, -0.18, 0.48, 0.95, -0.42, 1.00],
        [-0.15, 0.34, -0.22, 0.52, 1.36, -0.46, 1.08],
        [-0.05, 0.47, -0.32, 0.58, 1.46, -0.60, 1.20],
        [0.05, 0.65, -0.48, 0.68, 1.43, -0.76, 1.29],
        [0.20, 0.84, -0.71, 0.85, 1.32, -0.97, 1.36],
        [0.40, 0.95, -0.91, 0.97, 1.24, -1.12, 1.37],
        [0.60, 1.00, -1.00, 1.00, 1.20, -1.18, 1.35],
        [0.80, 1.01, -1.03, 0.97, 1.18, -1.20, 1.32],
        [1.00, 1.00, -1.04, 0.90, 1.15, -1.21, 1.27],
        [1.40, 0.95, -1.06, 0.78, 1.08, -1.24, 1.20],
    ]
)


@dataclass(frozen=True)
class Person:
    """Lengths in mm, densities in HU.

    Attributes:
        female: has breasts, of size `breast` (radius, mm).
        width, depth: inner half-width and half-depth of the rib cage at its widest.
        height: from the lungs' top to their lowest point.
        fat: thickness of the fat under the skin at the side.
        cage_square, body_square: squareness of the cross-sections, 0 to 1.
        dome: position of the right diaphragm's dome, as a share of `height`; larger in deep inspiration.
        left_lower: distance of the left dome below the right.
        slope: descent of the diaphragm towards the back, as a share of the height below the dome.
        heart: scale of the heart.
        kyphosis: distance of the mid spine behind its ends.
        gutter: distance by which the ribs extend backwards beside the spine, as a share of `depth`.
        flat: depth by which the table flattens the back.
        rib_pitch, rib_drop: distance between ribs; descent of a rib from back to front.
        lung: density of healthy lung at the middle of the chest.
        gradient: difference in density between the back and the front of the lungs.
        twigs: radius of the finest vessels, mm.
        blood, organ: density of blood (contrast medium raises it) and of liver and muscle.
        bone: scale of the bones' density.
        septum: half-width of the tissue between the lungs at the front.
        wall: thickness of the chest wall without fat, relative to the usual thickness.
    """

    female: bool
    breast: float
    width: float
    depth: float
    height: float
    fat: float
    cage_square: float
    body_square: float
    dome: float
    left_lower: float
    slope: float
    heart: float
    kyphosis: float
    gutter: float
    flat: float
    rib_pitch: float
    rib_drop: float
    lung: float
    gradient: float
    twigs: float
    blood: float
    organ: float
    bone: float
    septum: float
    wall: float = 1.0

    @property
    def scale(self) -> float:
        """Size of the person relative to a rib cage of 130 mm half-width."""
        return self.width / 130.0

    @property
    def right_dome(self) -> float:
        """z of the highest point of the right diaphragm, mm."""
        return self.dome * self.height

    @property
    def left_dome(self) -> float:
        """z of the highest point of the left diaphragm, mm."""
        return min(self.right_dome + self.left_lower, 0.93 * self.height)

    @cached_property
    def _curves(self) -> PchipInterpolator:
        return PchipInterpolator(_OUTLINES[:, 0], _OUTLINES[:, 1:], axis=0)

    def outlines(self, z: float) -> NDArray[np.float64]:
        """Shape (6,), mm: half-width, front and back of the rib cage, then of the trunk without fat."""
        u = float(np.clip(z / self.height, _OUTLINES[0, 0], _OUTLINES[-1, 0]))
        size = np.array([self.width, self.depth, self.depth] * 2)
        found = np.asarray(self._curves(u)) * size
        if self.wall != 1.0:  # shoulders and belly keep their size, and the back covers the spine
            thin = np.interp(u, (-0.1, 0.15, 1.0, 1.3), (1, self.wall, self.wall, 1))
            found[3:] = found[:3] + np.array([thin, thin, 0.6 + 0.4 * thin]) * (found[3:] - found[:3])
        return found

    def spine(self, z: float) -> float:
        """y of the middle of the vertebral body at height z, mm."""
        u = np.clip(z / self.height, -0.3, 1.3)
        return float(0.76 * self.depth - 16 * self.scale - self.kyphosis * (2 * (u - 0.55)) ** 2)


def draw_person(rng: np.random.Generator) -> Person:
    """A random person."""
    female = bool(rng.random() < 0.48)
    width = float(np.clip(rng.normal(121 if female else 132, 8), 100, 152))
    inspiration = rng.beta(3.0, 1.6)
    return Person(
        female=female,
        breast=float(rng.uniform(28, 66)) if female else 0.0,
        width=width,
        depth=width * float(np.clip(rng.normal(0.74, 0.05), 0.62, 0.88)),
        height=width * float(rng.uniform(1.68, 1.95)) * (0.85 + 0.25 * inspiration),
        fat=float(4 + 26 * rng.beta(1.6, 2.6)),
        cage_square=float(rng.uniform(0.15, 0.5)),
        body_square=float(rng.uniform(0.3, 0.7)),
        dome=0.62 + 0.17 * inspiration + float(rng.uniform(-0.02, 0.02)),
        left_lower=float(rng.uniform(3, 20)),
        slope=float(rng.uniform(0.7, 0.95)),
        heart=float(rng.uniform(0.80, 1.05)),
        kyphosis=float(rng.uniform(6, 22)),
        gutter=float(rng.uniform(0.06, 0.16)),
        flat=float(rng.uniform(2, 12)),
        rib_pitch=float(rng.uniform(22, 27)) * width / 130,
        rib_drop=float(rng.uniform(75, 120)),
        lung=-775 - 165 * inspiration + float(rng.normal(0, 22)),
        gradient=float(rng.uniform(10, 80)),
        twigs=float(rng.uniform(0.36, 0.72)),
        blood=float(rng.uniform(120, 280)) if rng.random() < 0.12 else float(rng.uniform(32, 52)),
        organ=float(rng.uniform(40, 62)),
        bone=float(rng.uniform(0.7, 1.15)),
        septum=float(rng.uniform(1.5, 5)),
    )
