"""Ribs, breastbone, shoulder blades and spine. They are too thin for the coarse grid and drawn at the slice's pixels.

Each function returns the density (HU) of bone, and the share (0 to 1) of each pixel that it fills.
"""

import numpy as np
from numpy.typing import NDArray

from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import Array

RIBS = 12
CARTILAGE = 0.86
"""Bearing (0 back, 1 front) beyond which a rib is cartilage."""


def shell(person: Person, x: Array, z: float, cage: Array, bearing: Array, edge: float) -> tuple[Array, Array]:
    """Ribs, breastbone and shoulder blades at pixels near the rib cage's wall.

    Args:
        x: body coordinate, mm, of each pixel (n,).
        cage: distance from the cage's inside, mm; bearing: 0 at the back to 1 at the front; both (n,).
        edge: width of a soft edge, mm.
    """
    blades = _blades(person, z, cage, bearing)
    plate = _breastbone(person, x, z, cage, bearing)
    ribs, soft = _ribs(person, z, cage, bearing)
    distance = np.minimum(np.minimum(ribs, blades), plate)
    share = np.clip(0.5 - distance / edge, 0, 1)
    # Dense at the surface, spongy inside.
    rind = np.clip(1 + distance / 3.0, 0, 1)
    density = person.bone * (np.float32(180) + 480 * rind)
    density = np.where(soft & (ribs <= distance), np.float32(95), density)
    return density.astype(np.float32), share.astype(np.float32)


def _ribs(person: Person, z: float, cage: Array, bearing: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Distance to the nearest rib and whether it is cartilage there."""
    # The first ribs are short and level, the lower ones long and steep; cartilage climbs to the breastbone.
    fall = np.minimum(bearing, CARTILAGE)
    climb = np.maximum(bearing - CARTILAGE, 0) / (1 - CARTILAGE)
    steep = np.clip(0.45 + 0.6 * z / person.height, 0.35, 1.0)
    height = np.float32(person.rib_drop * steep) * (fall - 0.25 * climb)
    phase = (np.float32(z + 12) - height) / np.float32(person.rib_pitch)
    number = np.rint(phase)
    above = (phase - number) * np.float32(person.rib_pitch)
    size = np.float32(person.scale)
    ring = np.sqrt(((cage - 6.5 * size) / (3.7 * size)) ** 2 + (above / (6.8 * size)) ** 2)
    distance = (ring - 1) * (4.5 * size)
    exists = (number >= 0) & (number < RIBS) & ((number < 10) | (bearing < 0.55)) & (bearing < 0.97)
    exists &= bearing > 0.07
    return np.where(exists, distance, np.float32(30)).astype(np.float32), bearing > CARTILAGE


def _breastbone(person: Person, x: Array, z: float, cage: Array, bearing: Array) -> Array:
    u = z / person.height
    if not 0.02 < u < 0.68:
        return np.full(cage.shape, 30, np.float32)
    half = (26 if u < 0.16 else 17) * person.scale
    across = np.abs(x) - np.float32(half)
    through = np.abs(cage - 8) - np.float32(5.5)
    corner = np.hypot(np.maximum(across + 4, 0), np.maximum(through + 4, 0)) - 4
    plate = np.maximum(corner, np.maximum(across, through))
    return np.where(bearing > 0.75, plate, np.float32(30)).astype(np.float32)


def _blades(person: Person, z: float, cage: Array, bearing: Array) -> Array:
    """The shoulder blades: thin plates behind the ribs, narrowing to a point half-way down."""
    u = z / person.height
    if not -0.05 < u < 0.52:
        return np.full(cage.shape, 30, np.float32)
    narrow = (u + 0.05) / 0.57
    first, last = 0.20 + 0.04 * narrow, 0.46 - 0.20 * narrow
    off_end = np.maximum(np.float32(first) - bearing, bearing - np.float32(last)) * np.float32(2.6 * person.width)
    lift = 19 + 10 * np.abs(bearing - np.float32(0.33)) * 6
    through = np.abs(cage - lift * np.float32(person.scale)) - np.float32(2.2)
    return np.maximum(off_end, through).astype(np.float32)


def spine(person: Person, x: Array, y: Array, z: float, edge: float) -> tuple[Array, Array]:
    """Vertebra or disc, with canal and processes; `x` and `y` in mm from the vertebra's middle."""
    s = np.float32(person.scale)
    pitch = 0.088 * person.height
    level = (z / pitch) % 1.0
    disc = level < 0.2
    body = (np.sqrt((x / (18 * s)) ** 2 + (y / (15.5 * s)) ** 2) - 1) * (16 * s)
    canal = np.sqrt(x * x + (y - 23 * s) ** 2) - 8.5 * s
    ring = np.abs(canal - 2.5) - 2.6
    wings = np.maximum(np.abs(y - 0.35 * np.abs(x) - 20 * s) - 4.5 * s, np.abs(x) - 30 * s)
    tail = np.maximum(np.abs(x) - 3.2 * s, np.abs(y - 45 * s) - 14 * s)
    whole = np.minimum(ring, tail) if disc or level > 0.75 else np.minimum(np.minimum(ring, wings), tail)
    arch = np.clip(1 + whole / 3, 0, 1)
    rind = np.clip(1 + body / 2.5, 0, 1)
    endplate = 260.0 if 0.2 <= level < 0.26 or level > 0.95 else 0.0
    inside = np.float32(90) if disc else person.bone * (np.float32(190 + endplate) + 330 * rind)
    density = np.where(body < whole, inside, person.bone * (np.float32(220) + 380 * arch))
    share = np.clip(0.5 - np.maximum(np.minimum(body, whole), -canal) / edge, 0, 1)
    return density.astype(np.float32), share.astype(np.float32)
