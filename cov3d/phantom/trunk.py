"""The large surfaces of the chest, as fields of distance (mm): skin, muscle, rib cage, diaphragm, lungs."""

import numpy as np

from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import Array, oval, smooth_max


def skin_and_cage(person: Person, x: Array, y: Array, z: float) -> tuple[Array, Array, Array, Array]:
    """Distances to skin, outside of the muscles and inside of the rib cage, and the bearing around the cage.

    `x` and `y` are body coordinates of shape (ny, nx) on the plane z. The results have the same shape.
    """
    half, front, back, body_half, body_front, body_back = person.outlines(z)
    # The ribs run backwards from the spine before they turn to the side, so the lungs extend behind its front.
    beside = np.clip(np.abs(x) / np.float32(half), 0, 1)
    bulge = np.float32(4 * person.gutter * person.depth) * beside * (1 - beside)
    behind = np.clip(y / np.float32(person.depth), 0, 1)
    cage, bearing = oval(x, y - bulge * behind, half, front, back, person.cage_square, skew=0.06)
    muscle, _ = oval(x, y, body_half, body_front, body_back, person.body_square)
    fat = person.fat
    skin, _ = oval(x, y, body_half + fat, body_front - 0.8 * fat, body_back + 0.7 * fat, person.body_square)
    # A body lying on its back is flattened by the table, with a furrow over the spine.
    furrow = 6 * np.exp(-((x / 15) ** 2)) * behind
    skin = smooth_max(skin + furrow, y - np.float32(body_back + 0.7 * fat - person.flat), 6.0)
    muscle = np.maximum(muscle, skin + np.float32(1.5 + 0.3 * fat))
    if person.female:
        skin = _unite(skin, _breasts(person, x, y, z))
    return skin, muscle, cage, bearing


def _unite(a: Array, b: Array) -> Array:
    return -smooth_max(-a, -b, 10.0)


def _breasts(person: Person, x: Array, y: Array, z: float) -> Array:
    # Flat and to the sides, as in a person lying on the back.
    size = person.breast
    dx = (np.abs(x) - np.float32(0.62 * person.width)) / np.float32(1.25 * size)
    dy = (y + np.float32(1.10 * person.depth + 0.5 * person.fat)) / np.float32(0.62 * size)
    dz = (z - 0.58 * person.height) / (1.15 * size)
    return (np.sqrt(dx * dx + dy * dy + np.float32(dz * dz)) - 1) * np.float32(0.7 * size)


def diaphragm(person: Person, x: Array, y: Array, side: int) -> Array:
    """z (mm) of the diaphragm at each point, on one side (-1 right, 1 left)."""
    top = person.right_dome if side < 0 else person.left_dome
    room = person.height - top
    across = (side * x - np.float32(0.46 * person.width)) / np.float32(0.54 * person.width)
    outer, inner = np.maximum(across, 0) ** 2, np.maximum(-across, 0) ** 2
    along = y / np.float32(person.depth)
    behind, ahead = np.maximum(along + np.float32(0.35), 0), np.maximum(-np.float32(0.35) - along, 0)
    fall = 0.45 * outer * outer + 0.22 * outer + 0.14 * inner + 0.35 * ahead * ahead
    back = np.float32(person.slope) * behind * (0.35 + 0.30 * behind)
    return np.float32(top) + np.float32(room) * (fall + back)


def lung(person: Person, x: Array, y: Array, z: float, cage: Array, core: Array, floor: Array, side: int) -> Array:
    """Distance (mm, negative inside) to one pleural cavity: -1 the right lung, 1 the left.

    `cage` is the distance to the inside of the rib cage, `core` the distance to the organs between the lungs (heart,
    vessels, spine), and `floor` the z of the diaphragm; each (ny, nx).
    """
    tallness, width, depth = person.height, person.width, person.depth
    field = cage + np.float32(1.5)
    rise = max(0.32 * tallness - z, 0.0) / (0.32 * tallness)
    middle = 0.14 * depth
    if rise > 0:
        apex = np.sqrt(
            ((side * x - np.float32(0.46 * width)) / np.float32(0.60 * width)) ** 2
            + ((y - np.float32(middle)) / np.float32(1.15 * depth)) ** 2
            + np.float32(rise**2.2)
        )
        field = smooth_max(field, (apex - 1) * np.float32(0.5 * width), 8.0)
    field = smooth_max(field, (np.float32(z) - floor) * np.float32(0.85), 5.0)
    field = smooth_max(field, _septum(person, y, z) - side * x, 5.0)
    return smooth_max(field, np.float32(2.5) - core, 6.0)


def _septum(person: Person, y: Array, z: float) -> Array:
    """Half-width (mm) of the tissue between the lungs: thin in front, wide at the top and in the middle."""
    u, scale = z / person.height, person.scale
    top = 24 * scale / (1 + np.exp((u - 0.17) / 0.035))
    middle = 17 * scale * np.exp(-(((y - np.float32(0.10 * person.depth)) / np.float32(0.42 * person.depth)) ** 2))
    low = 9 * scale / (1 + np.exp((0.80 - u) / 0.03))
    return np.float32(person.septum + top + low) + middle
