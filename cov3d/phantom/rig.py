"""Objects around a synthetic patient: the table below, and blankets over the front and the sides."""

from dataclasses import dataclass

import numpy as np

from cov3d.phantom.chest import Chest, ChestField
from cov3d.phantom.geometry import Array

_AIR = -1000.0


@dataclass(frozen=True)
class Table:
    """A curved table, the same in every slice: a cushion on two shells with foam between them.

    Attributes:
        gap: below the back, mm. radius: of the curve, mm. shell: density of the shells, HU.
        half: half the thickness of the upper shell, mm. depth: distance between the shells, mm.
        rails: whether there are dense rails below it.
    """

    gap: float
    radius: float
    shell: float
    half: float = 1.2
    depth: float = 38.0
    rails: bool = False


@dataclass(frozen=True)
class Blankets:
    """Wavy sheets at some distance from the skin, except at the back.

    Attributes:
        gaps: distance of each sheet from the skin, mm. wave: height of the waves, mm. density: HU. half: half the
            thickness of a sheet, mm. phase: of the waves, radians.
    """

    gaps: tuple[float, ...]
    wave: float
    density: float
    half: float
    phase: float


def draw_table(rng: np.random.Generator) -> Table | None:
    """A common table, or none."""
    if rng.random() < 0.08:
        return None
    return Table(float(rng.uniform(4, 22)), float(rng.uniform(340, 700)), float(rng.uniform(-550, 150)))


def draw_hard_table(rng: np.random.Generator) -> Table:
    """A thick, dense table close to the back, which may look like ribs."""
    return Table(
        gap=float(rng.uniform(1, 12)),
        radius=float(rng.uniform(280, 480)),
        shell=float(rng.uniform(150, 900)),
        half=float(rng.uniform(1.5, 3.5)),
        depth=float(rng.uniform(32, 60)),
        rails=bool(rng.random() < 0.6),
    )


def draw_blankets(rng: np.random.Generator) -> Blankets:
    """One to four sheets."""
    return Blankets(
        gaps=tuple(rng.uniform(6, 70, int(rng.integers(1, 5))).tolist()),
        wave=float(rng.uniform(3, 12)),
        density=float(rng.uniform(-750, -250)),
        half=float(rng.uniform(0.8, 2.5)),
        phase=float(rng.uniform(0, 6)),
    )


def table_densities(table: Table, back: float, edge: float, x: Array, y: Array) -> Array:
    """HU of the table at image coordinates `x` (1, width) and `y` (height, 1), mm; air elsewhere.

    Args:
        back: the rearmost point of the body, mm in the image.
        edge: width of a soft edge, mm.
    """
    bottom = back + table.gap
    # Distance below the table's top, which is a wide arc that is open to the front.
    below = np.sqrt(x * x + (y - np.float32(bottom - table.radius)) ** 2) - np.float32(table.radius)
    line = np.clip(0.5 - (np.abs(below - table.half) - table.half) / edge, 0, 1)
    second = np.clip(0.5 - (np.abs(below - table.depth) - 1.0) / edge, 0, 1)
    cushion = np.clip(0.5 - (np.abs(below + 6) - 5) / edge, 0, 1)
    core = np.clip(below / edge, 0, 1) * np.clip((table.depth - below) / edge, 0, 1)
    hu = _AIR + 55 * cushion + 70 * core
    hu += line * (table.shell - hu)
    hu += 0.8 * second * (table.shell - hu)
    if table.rails:
        rail = np.maximum(np.abs(np.abs(x) - 60) - 12, np.abs(below - table.depth - 14) - 6)
        hu += np.clip(0.5 - rail / edge, 0, 1) * (1200 - hu)
    return np.where(np.abs(x) < 215, hu, _AIR).astype(np.float32)


def lay_blankets(hu: Array, chest: Chest, number: int, blankets: Blankets) -> None:
    """Draw the blankets into slice `number`, HU of shape (height, width), in place."""
    frame, z = chest.frame, float(chest.frame.z[number])
    skin = chest.up(chest.grid.at(chest.fields[ChestField.SKIN], z), chest.up.whole)
    x, y = frame.to_body(frame.centres[None, :], frame.centres[:, None], z)
    bearing = np.arctan2(x, -y)
    in_front = np.clip((np.float32(0.7 * chest.person.depth) - y) / np.float32(20), 0, 1)
    for sheet, gap in enumerate(blankets.gaps):
        wave = np.sin(bearing * np.float32(5 + 2 * sheet) + np.float32(z / 45 + blankets.phase * (sheet + 1)))
        wave += 0.5 * np.sin(bearing * np.float32(13 - sheet) - np.float32(z / 22))
        away = np.abs(skin - np.float32(gap) - np.float32(blankets.wave) * wave) - np.float32(blankets.half)
        cover = np.clip(0.5 - away / np.float32(chest.edge), 0, 1) * in_front * (skin > 1)
        np.maximum(hu, _AIR + cover * np.float32(blankets.density - _AIR), out=hu)
