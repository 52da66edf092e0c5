"""One synthetic chest on the coarse grid: every field that a slice is drawn from, and the vessels."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cov3d.phantom import lesions, trunk, vessels
from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import STEP, Array, Blob, Frame, Grid, Upsampler, add_blobs, smooth_max
from cov3d.phantom.lesions import Findings
from cov3d.phantom.organs import Organs, organ_fields


class Field(IntEnum):
    """The coarse fields: distances (mm, negative inside) unless said otherwise."""

    SKIN = 0
    MUSCLE = 1
    CAGE = 2
    BEARING = 3  # 0 at the back to 1 at the front
    BLOOD = 4
    AIRWAY = 5
    SOLID = 6
    HOLLOW = 7
    GAS = 8
    BONES = 9
    RIGHT = 10
    LEFT = 11
    FISSURE = 12  # signed: which side of the fissure
    TEXTURE = 13  # random, deviation 1
    LUNG_HU = 14
    LESION = 15  # level, positive inside
    DENSE = 16  # level, positive inside


@dataclass(frozen=True)
class Chest:
    """A person in a scanner, ready to be cut into slices. `fields` has shape (len(Field), nz, ny, nx)."""

    person: Person
    findings: Findings
    frame: Frame
    grid: Grid
    up: Upsampler
    fields: Array
    beads: vessels.Beads
    edge: float


def build_chest(
    person: Person,
    organs: Organs,
    findings: Findings,
    frame: Frame,
    softness: float,
    rng: np.random.Generator,
    arms: bool = False,
) -> Chest:
    """Evaluate the anatomy on the coarse grid and grow the vessels.

    `softness` is the width of edges, mm; `arms`: whether they lie beside the chest.
    """
    grid = Grid(frame)
    fields = np.empty((len(Field), *grid.shape), np.float32)
    places = np.empty((3, *grid.shape), np.float32)
    for index in range(grid.shape[0]):
        x, y = grid.plane(index)
        places[0, index], places[1, index], places[2, index] = x, y, grid.z[index]
        _fill_plane(person, organs, findings, grid, index, x, y, fields)
        if arms:
            _add_arms(person, x, y, fields[:, index])
    fields[Field.TEXTURE] = lesions.noise(grid.shape, grid.rise, 5.0, rng)
    _fill_lungs(person, findings, grid, places, fields, rng)
    _add_nodules(findings, grid, places, fields, rng)
    beads = vessels.join(
        [
            vessels.grow(root, vessels.tips_in(fields[side], places, count, rng), person.twigs, rng)
            for side, roots in zip((Field.RIGHT, Field.LEFT), organs.roots, strict=True)
            for root, count in zip(roots, (330, 230), strict=True)
        ]
    )
    edge = max(1.2 * frame.pixel, softness)
    return Chest(person, findings, frame, grid, Upsampler(grid), fields, beads, edge)


def _fill_plane(
    person: Person,
    organs: Organs,
    findings: Findings,
    grid: Grid,
    index: int,
    x: Array,
    y: Array,
    fields: Array,
) -> None:
    z = float(grid.z[index])
    plane = fields[:, index]
    skin, muscle, cage, bearing = trunk.skin_and_cage(person, x, y, z)
    found = organ_fields(organs, grid, index, x, y)
    plane[Field.SKIN], plane[Field.MUSCLE], plane[Field.CAGE], plane[Field.BEARING] = (
        skin,
        muscle,
        cage,
        bearing,
    )
    plane[Field.BLOOD], plane[Field.AIRWAY] = found["blood"], found["airway"]
    # Where the shoulders end the joints do.
    plane[Field.BONES] = np.maximum(found["bones"], muscle + 6)
    behind = np.maximum(y - np.float32(person.spine(z)), 0)
    ahead = np.minimum(y - np.float32(person.spine(z)), 0)
    column = np.sqrt(x * x + ahead * ahead) - np.float32(20 * person.scale) - 0.12 * behind
    core = np.minimum(np.minimum(found["blood"], found["hila"]), column)
    core = np.minimum(core, found["airway"] - 1.2)
    wet = np.full(x.shape, 30, np.float32)
    floors = {Field.RIGHT: trunk.diaphragm(person, x, y, -1), Field.LEFT: trunk.diaphragm(person, x, y, 1)}
    for field, side, depth in (
        (Field.RIGHT, -1, findings.effusion[0]),
        (Field.LEFT, 1, findings.effusion[1]),
    ):
        floor = floors[field]
        cavity = trunk.lung(person, x, y, z, cage, core, floor, side)
        plane[field] = cavity
        if depth > 0:
            # Fluid gathers behind and below, with a rim that climbs at the wall.
            level = person.depth * (1.05 - depth - 0.9 * (z / person.height - 0.75)) + 0.25 * cavity
            plane[field] = smooth_max(cavity, y - level.astype(np.float32), 4.0)
            wet = np.minimum(wet, np.maximum(cavity, level - y))
    roof = np.where(x < 0, floors[Field.RIGHT], floors[Field.LEFT])
    below = np.maximum((roof + 3 - np.float32(z)) * np.float32(0.85), cage + 2)
    plane[Field.SOLID] = smooth_max(found["solid"], below, 3.0)
    plane[Field.HOLLOW] = np.minimum(smooth_max(found["hollow"], below + 2, 3.0), wet)
    plane[Field.GAS] = np.maximum(found["gas"], below + 4)
    slant = 0.58 - 0.30 * y / np.float32(person.depth) + 0.05 * (x / np.float32(person.width)) ** 2
    plane[Field.FISSURE] = (np.float32(z) - slant * np.float32(person.height)) * np.float32(0.75)


def _add_arms(person: Person, x: Array, y: Array, plane: Array) -> None:
    """Both upper arms, straight down beside the trunk."""
    thick, scale = 38 * person.scale, person.scale
    centre = 1.2 * person.width + person.fat + 0.8 * thick
    away = np.sqrt((np.abs(x) - np.float32(centre)) ** 2 + (y - np.float32(0.2 * person.depth)) ** 2)
    plane[Field.SKIN] = np.minimum(plane[Field.SKIN], away - np.float32(thick))
    plane[Field.MUSCLE] = np.minimum(plane[Field.MUSCLE], away - np.float32(0.8 * thick))
    plane[Field.BONES] = np.minimum(plane[Field.BONES], away - np.float32(11 * scale))


def _fill_lungs(
    person: Person, findings: Findings, grid: Grid, places: Array, fields: Array, rng: np.random.Generator
) -> None:
    surface = np.minimum(fields[Field.RIGHT], fields[Field.LEFT])
    along, down = places[1] / np.float32(person.depth), places[2] / np.float32(person.height)
    hu = np.float32(person.lung) + np.float32(person.gradient / 2) * along + 9 * fields[Field.TEXTURE]
    thick, dense = findings.band
    if thick > 0:
        # The band follows the wall at the back only: depth is measured from the rib cage.
        wall = np.clip(1 + (fields[Field.CAGE] + 1) / np.float32(thick), 0, 1)
        hu += np.float32(dense) * wall * np.clip(3 * along - 1.2, 0, 1) * np.clip(0.4 + down, 0, 1)
    if findings.holes > 0:
        spots = np.clip(lesions.noise(surface.shape, grid.rise, 7.0, rng) - 0.2, 0, 1.2)
        hu -= np.float32(findings.holes) * spots * np.clip(1.4 - 1.3 * down, 0, 1)
    fields[Field.LUNG_HU] = np.maximum(hu, -995)
    fields[Field.FISSURE] += 2.0 * fields[Field.TEXTURE]
    fields[Field.LESION] = fields[Field.DENSE] = -10
    near = surface < STEP
    if findings.involvement > 0 and near.any():
        spans = [np.flatnonzero(near.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        weight = np.clip(0.5 - surface[box] / STEP, 0, 1)
        levels = lesions.lesion_levels(findings, -surface[box], weight, along[box], down[box], grid.rise, rng)
        fields[Field.LESION][box], fields[Field.DENSE][box] = levels
    if findings.white:
        side = places[0] < 0 if findings.white == "right" else places[0] > 0
        fields[Field.LESION][side] = fields[Field.DENSE][side] = 2


def _add_nodules(findings: Findings, grid: Grid, places: Array, fields: Array, rng: np.random.Generator) -> None:
    """Small round nodules, united with the blood: they keep their edge and are no lesion of the mask."""
    for _ in range(findings.nodules):
        side = Field.RIGHT if rng.random() < 0.5 else Field.LEFT
        spot = vessels.tips_in(fields[side] + 6, places, 1, rng)
        radius = float(rng.uniform(3, 9))
        for centre in spot.tolist():
            nodule = Blob((centre[0], centre[1], centre[2]), (radius, radius, radius))
            for index in range(grid.shape[0]):
                add_blobs(fields[Field.BLOOD][index], grid, index, places[0, index], places[1, index], [nodule])
