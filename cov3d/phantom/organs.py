"""Organs between and below the lungs, as ellipsoids and tubes: heart, vessels, airways, liver, bowel."""

from dataclasses import dataclass, replace

import numpy as np

from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import FAR, Array, Blob, CoarseGrid, Tube, add_blobs, add_tubes


@dataclass(frozen=True)
class Organs:
    """Shapes in body coordinates, mm, by tissue.

    Attributes:
        heart, vessels: blood and heart muscle, which displace lung.
        hila: entries of bronchi and vessels into the lungs, which displace lung too.
        airways: gas of trachea and bronchi. gullet: soft tube behind them, sometimes with `gullet_gas`.
        solid: liver, spleen, kidneys. hollow: stomach and bowel. gas: inside them, in front of a level (y, mm).
        bones: collar bones and shoulder joints. The module `bones` draws the others.
        roots: starting points of the pulmonary artery and vein, for the right side, then the left.
    """

    heart: tuple[Blob, ...]
    vessels: tuple[Tube, ...]
    hila: tuple[Blob, ...]
    airways: tuple[Tube, ...]
    gullet: tuple[Tube, ...]
    gullet_gas: tuple[Blob, ...]
    solid: tuple[Blob, ...]
    hollow: tuple[Blob, ...]
    gas: tuple[tuple[Blob, float], ...]
    bones: tuple[Tube, ...]
    roots: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]


def draw_organs(person: Person, rng: np.random.Generator) -> Organs:
    """Random organs of a person."""
    carina = float(rng.uniform(0.34, 0.39)) * person.height
    airways, gullet = _airways(person, carina, rng)
    solid, hollow, gas = _abdomen(person, rng)
    w, d, s = person.width, person.depth, person.scale
    hila = tuple(
        Blob((side * 0.27 * w, 0.16 * d, carina + (22 if side < 0 else 14) * s), (15 * s, 17 * s, 20 * s))
        for side in (-1, 1)
    )
    gulps = rng.integers(0, 4)
    gullet_gas = tuple(
        Blob((3.0 * s, person.spine(z) - 23 * s, z), (float(rng.uniform(2, 5)), float(rng.uniform(2, 4)), 12.0))
        for z in rng.uniform(-30, 0.8 * person.height, gulps).tolist()
    )
    roots = tuple(
        (
            (side * 0.25 * w, 0.10 * d, carina + (18 if side < 0 else 8) * s),
            (side * 0.24 * w, 0.17 * d, carina + 34 * s),
        )
        for side in (-1, 1)
    )
    return Organs(
        heart=_heart(person),
        vessels=_vessels(person, carina),
        hila=hila,
        airways=airways,
        gullet=gullet,
        gullet_gas=gullet_gas,
        solid=solid,
        hollow=hollow,
        gas=gas,
        bones=_shoulders(person, rng),
        roots=roots,
    )


def _heart(person: Person) -> tuple[Blob, ...]:
    w, d, h, size = person.width, person.depth, person.height, person.heart
    z = 0.5 * (person.right_dome + person.left_dome) - 0.13 * h
    return (
        Blob((0.12 * w, -0.30 * d, z), (0.33 * w * size, 0.50 * d * size, 0.17 * h * size)),
        Blob((0.30 * w, -0.40 * d, z + 0.07 * h), (0.30 * w * size, 0.38 * d * size, 0.11 * h * size)),
        Blob((-0.12 * w, -0.15 * d, z), (0.21 * w * size, 0.32 * d * size, 0.13 * h * size)),
        Blob((0.02 * w, 0.08 * d, z - 0.05 * h), (0.24 * w * size, 0.24 * d * size, 0.09 * h * size)),
    )


def _vessels(person: Person, carina: float) -> tuple[Tube, ...]:
    d, h, s = person.depth, person.height, person.scale
    low = 0.5 * (person.right_dome + person.left_dome) - 0.12 * h

    def beside_spine(z: float, x: float) -> tuple[float, float, float]:
        return x * s, person.spine(z) - 20 * s, z

    arch = carina - 22 * s
    aorta = Tube(
        [
            (-6 * s, -0.22 * d, low),
            (-16 * s, -0.22 * d, carina + 20 * s),
            (-13 * s, -0.18 * d, arch + 6 * s),
            (2 * s, 0.04 * d, arch - 5 * s),
            (20 * s, 0.30 * d, arch),
            beside_spine(carina, 24),
            beside_spine(low, 20),
            beside_spine(0.9 * h, 8),
            beside_spine(1.5 * h, 5),
        ],
        [15 * s, 15 * s, 14 * s, 13 * s, 12.5 * s, 12 * s, 11.5 * s, 11 * s, 10 * s],
    )
    cava = Tube([(-32 * s, -0.2 * d, -10.0), (-27 * s, -0.18 * d, low)], [8 * s, 9 * s])
    lower_cava = Tube([(-22 * s, 0.1 * d, low), (-22 * s, 0.28 * d, 1.5 * h)], [11 * s, 11 * s])
    trunk = Tube([(16 * s, -0.34 * d, low), (20 * s, -0.14 * d, carina + 12 * s)], [14 * s, 13 * s])
    right = Tube([(18 * s, -0.1 * d, carina + 14 * s), (-36 * s, 0.1 * d, carina + 18 * s)], [11 * s, 8 * s])
    left = Tube([(20 * s, -0.14 * d, carina + 12 * s), (34 * s, 0.14 * d, carina + 6 * s)], [12 * s, 9 * s])
    neck = tuple(
        Tube(
            [(x0 * s, 0.0, arch), (x1 * s, -0.06 * d, -30.0), (x1 * s, 0.1 * d, -120.0)],
            [6 * s, 5 * s, 4 * s],
        )
        for x0, x1 in ((-10, -24), (4, 18), (16, 30))
    )
    return (aorta, cava, lower_cava, trunk, right, left, *neck)


def _airways(person: Person, carina: float, rng: np.random.Generator) -> tuple[tuple[Tube, ...], tuple[Tube, ...]]:
    s = person.scale
    wide = float(rng.uniform(7, 10)) * s

    def front_of_spine(z: float, away: float) -> tuple[float, float, float]:
        return float(-2 * s), person.spine(z) - away * s, z

    fork = front_of_spine(carina, 36)
    trachea = Tube([front_of_spine(-140, 36), front_of_spine(0, 40), fork], [wide, wide, wide])
    right = (-33 * s, fork[1] + 4, carina + 26 * s)
    left = (40 * s, fork[1] + 6, carina + 36 * s)
    tubes = [
        trachea,
        Tube([fork, right], [0.8 * wide, 0.66 * wide]),
        Tube([fork, left], [0.75 * wide, 0.55 * wide]),
        Tube([right, (-48 * s, right[1] - 2, carina + 14 * s)], [0.45 * wide, 0.25 * wide]),
        Tube([right, (-41 * s, right[1] + 10, carina + 54 * s)], [0.5 * wide, 0.25 * wide]),
        Tube([left, (52 * s, left[1] - 10, carina + 24 * s)], [0.4 * wide, 0.25 * wide]),
        Tube([left, (47 * s, left[1] + 12, carina + 60 * s)], [0.42 * wide, 0.22 * wide]),
    ]
    depths = (-140.0, 0.0, carina, 0.75 * person.height, 1.0 * person.height)
    gullet = Tube([(4 * s, person.spine(z) - 23 * s, z) for z in depths], [6.5 * s] * len(depths))
    return tuple(tubes), (gullet,)


def with_full_stomach(organs: Organs) -> Organs:
    """The same organs with a large stomach full of gas."""
    stomach = organs.hollow[0]
    (x, y, z), (wide, deep, high) = stomach.centre, stomach.radii
    full = Blob((x, y, z - 0.15 * high), (1.15 * wide, 1.1 * deep, 1.3 * high))
    return replace(organs, hollow=(full, *organs.hollow[1:]), gas=((full, y + 1.2 * deep), *organs.gas[1:]))


def _abdomen(
    person: Person, rng: np.random.Generator
) -> tuple[tuple[Blob, ...], tuple[Blob, ...], tuple[tuple[Blob, float], ...]]:
    w, d, s = person.width, person.depth, person.scale
    right, left = person.right_dome, person.left_dome
    solid = (
        Blob((-0.48 * w, -0.02 * d, right + 72 * s), (0.58 * w, 1.05 * d, 80 * s)),
        Blob((0.02 * w, -0.42 * d, right + 50 * s), (0.50 * w, 0.50 * d, 44 * s)),
        Blob((0.70 * w, 0.42 * d, left + 50 * s), (0.26 * w, 0.42 * d, 46 * s)),
        Blob((-0.44 * w, 0.50 * d, right + 150 * s), (0.2 * w, 0.24 * d, 50 * s)),
        Blob((0.44 * w, 0.50 * d, left + 120 * s), (0.2 * w, 0.24 * d, 52 * s)),
    )
    stomach = Blob(
        (0.42 * w, -0.28 * d, left + 46 * s),
        (0.34 * w * float(rng.uniform(0.7, 1)), 0.42 * d, 40 * s * float(rng.uniform(0.8, 1))),
    )
    level = stomach.centre[1] + float(rng.uniform(-0.9, 0.1)) * stomach.radii[1]
    hollow, gas = [stomach], [(stomach, level)]
    for _ in range(int(rng.integers(2, 7))):
        centre = (
            float(rng.uniform(-0.4, 0.8)) * w,
            float(rng.uniform(-0.85, -0.45)) * d,
            left + float(rng.uniform(25, 150)) * s,
        )
        loop = Blob(centre, (float(rng.uniform(10, 24)), float(rng.uniform(8, 18)), float(rng.uniform(10, 22))))
        hollow.append(loop)
        if rng.random() < 0.7:
            gas.append((loop, centre[1] + float(rng.uniform(-0.3, 0.8)) * loop.radii[1]))
    return solid, tuple(hollow), tuple(gas)


def _shoulders(person: Person, rng: np.random.Generator) -> tuple[Tube, ...]:
    w, d = person.width, person.depth
    lift = float(rng.uniform(-8, 14))
    tubes = []
    for side in (-1, 1):
        inner = (side * 20.0, -0.52 * d, 0.06 * person.height)
        outer = (side * 1.1 * w, -0.05 * d, -22.0 - lift)
        tubes.append(Tube([inner, outer], [8.0, 6.0]))
        joint = (side * 1.28 * w, 0.12 * d, -6.0 - lift)
        tubes.append(Tube([joint, (joint[0], joint[1] + 8, joint[2] - 14)], [21.0, 19.0]))
    return tuple(tubes)


def organ_fields(organs: Organs, grid: CoarseGrid, index: int, x: Array, y: Array) -> dict[str, Array]:
    """Distances (mm) on one plane, each (ny, nx), by name: see `names`."""
    names = ("blood", "hila", "airway", "solid", "hollow", "gas", "bones")
    fields = {name: np.full(x.shape, FAR, np.float32) for name in names}
    add_blobs(fields["blood"], grid, index, x, y, organs.heart, blend=14.0)
    add_tubes(fields["blood"], grid, index, x, y, organs.vessels)
    add_tubes(fields["blood"], grid, index, x, y, organs.gullet)
    add_blobs(fields["hila"], grid, index, x, y, organs.hila)
    add_tubes(fields["airway"], grid, index, x, y, organs.airways)
    add_blobs(fields["airway"], grid, index, x, y, organs.gullet_gas)
    add_blobs(fields["solid"], grid, index, x, y, organs.solid)
    add_blobs(fields["hollow"], grid, index, x, y, organs.hollow)
    for blob, level in organs.gas:
        part = np.full(x.shape, FAR, np.float32)
        add_blobs(part, grid, index, x, y, [blob])
        # In a person lying on the back, gas rises to the front, above a horizontal level.
        np.minimum(fields["gas"], np.maximum(part + 2, y - np.float32(level)), out=fields["gas"])
    add_tubes(fields["bones"], grid, index, x, y, organs.bones)
    return fields
