"""A synthetic chest on the coarse grid: the fields from which slices are drawn, and the vessels."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cov3d.phantom import lesions, trunk, vessels
from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import STEP, Array, Blob, CoarseGrid, Frame, Upsampler, add_blobs, smooth_max
from cov3d.phantom.lesions import Findings
from cov3d.phantom.organs import Organs, organ_fields


class ChestField(IntEnum):
    """The fields on the coarse grid: distances (mm, negative inside) unless noted."""

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
    FISSURE = 12  # signed distance, by side of the fissure
    TEXTURE = 13  # random, standard deviation 1
    LUNG_HU = 14
    LESION = 15  # level, positive inside; it holds for the lungs with lesions only
    DENSE = 16  # the same


@dataclass(frozen=True)
class Chest:
    """A person in a scanner, from which slices are cut. `fields` has shape (len(ChestField), nz, ny, nx)."""

    person: Person
    findings: Findings
    frame: Frame
    grid: CoarseGrid
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

    `softness` is the width of edges, mm; `arms`: whether the arms lie beside the chest.
    """
    grid = CoarseGrid(frame)
    fields = np.empty((len(ChestField), *grid.shape), np.float32)
    places = np.empty((3, *grid.shape), np.float32)
    for index in range(grid.shape[0]):
        x, y = grid.plane(index)
        places[0, index], places[1, index], places[2, index] = x, y, grid.z[index]
        _fill_plane(person, organs, findings, grid, index, x, y, fields)
        if arms:
            _add_arms(person, x, y, fields[:, index])
    fields[ChestField.TEXTURE] = lesions.noise(grid.shape, grid.rise, 5.0, rng)
    _fill_lungs(person, findings, grid, places, fields, rng)
    _add_nodules(findings, grid, places, fields, rng)
    beads = vessels.join(
        [
            vessels.grow(root, vessels.tips_in(fields[side], places, count, rng), person.twigs, rng)
            for side, roots in zip((ChestField.RIGHT, ChestField.LEFT), organs.roots, strict=True)
            for root, count in zip(roots, (330, 230), strict=True)
        ]
    )
    edge = max(1.2 * frame.pixel, softness)
    return Chest(person, findings, frame, grid, Upsampler(grid), fields, beads, edge)


def _fill_plane(
    person: Person,
    organs: Organs,
    findings: Findings,
    grid: CoarseGrid,
    index: int,
    x: Array,
    y: Array,
    fields: Array,
) -> None:
    z = float(grid.z[index])
    plane = fields[:, index]
    skin, muscle, cage, bearing = trunk.skin_and_cage(person, x, y, z)
    found = organ_fields(organs, grid, index, x, y)
    plane[ChestField.SKIN], plane[ChestField.MUSCLE], plane[ChestField.CAGE], plane[ChestField.BEARING] = (
        skin,
        muscle,
        cage,
        bearing,
    )
    plane[ChestField.BLOOD], plane[ChestField.AIRWAY] = found["blood"], found["airway"]
    # The joints end where the shoulders end.
    plane[ChestField.BONES] = np.maximum(found["bones"], muscle + 6)
    behind = np.maximum(y - np.float32(person.spine(z)), 0)
    ahead = np.minimum(y - np.float32(person.spine(z)), 0)
    column = np.sqrt(x * x + ahead * ahead) - np.float32(20 * person.scale) - 0.12 * behind
    core = np.minimum(np.minimum(found["blood"], found["hila"]), column)
    core = np.minimum(core, found["airway"] - 1.2)
    wet = np.full(x.shape, 30, np.float32)
    floors = {ChestField.RIGHT: trunk.diaphragm(person, x, y, -1), ChestField.LEFT: trunk.diaphragm(person, x, y, 1)}
    for field, side, depth in (
        (ChestField.RIGHT, -1, findings.effusion[0]),
        (ChestField.LEFT, 1, findings.effusion[1]),
    ):
        floor = floors[field]
        cavity = trunk.lung(person, x, y, z, cage, core, floor, side)
        plane[field] = cavity
        if depth > 0:
            # Fluid gathers at the back and below, and rises at the wall.
            level = person.depth * (1.05 - depth - 0.9 * (z / person.height - 0.75)) + 0.25 * cavity
            plane[field] = smooth_max(cavity, y - level.astype(np.float32), 4.0)
            wet = np.minimum(wet, np.maximum(cavity, level - y))
    roof = np.where(x < 0, floors[ChestField.RIGHT], floors[ChestField.LEFT])
    below = np.maximum((roof + 3 - np.float32(z)) * np.float32(0.85), cage + 2)
    plane[ChestField.SOLID] = smooth_max(found["solid"], below, 3.0)
    plane[ChestField.HOLLOW] = np.minimum(smooth_max(found["hollow"], below + 2, 3.0), wet)
    plane[ChestField.GAS] = np.maximum(found["gas"], below + 4)
    slant = 0.58 - 0.30 * y / np.float32(person.depth) + 0.05 * (x / np.float32(person.width)) ** 2
    plane[ChestField.FISSURE] = (np.float32(z) - slant * np.float32(person.height)) * np.float32(0.75)


def _add_arms(person: Person, x: Array, y: Array, plane: Array) -> None:
    """Add both upper arms, straight down beside the trunk."""
    thick, scale = 38 * person.scale, person.scale
    centre = 1.2 * person.width + person.fat + 0.8 * thick
    away = np.sqrt((np.abs(x) - np.float32(centre)) ** 2 + (y - np.float32(0.2 * person.depth)) ** 2)
    plane[ChestField.SKIN] = np.minimum(plane[ChestField.SKIN], away - np.float32(thick))
    plane[ChestField.MUSCLE] = np.minimum(plane[ChestField.MUSCLE], away - np.float32(0.8 * thick))
    plane[ChestField.BONES] = np.minimum(plane[ChestField.BONES], away - np.float32(11 * scale))


def _fill_lungs(
    person: Person, findings: Findings, grid: CoarseGrid, places: Array, fields: Array, rng: np.random.Generator
) -> None:
    surface = np.minimum(fields[ChestField.RIGHT], fields[ChestField.LEFT])
    along, down = places[1] / np.float32(person.depth), places[2] / np.float32(person.height)
    hu = np.float32(person.lung) + np.float32(person.gradient / 2) * along + 9 * fields[ChestField.TEXTURE]
    thick, dense = findings.band
    if thick > 0:
        # The band follows the wall at the back only; its depth is measured from the rib cage.
        wall = np.clip(1 + (fields[ChestField.CAGE] + 1) / np.float32(thick), 0, 1)
        hu += np.float32(dense) * wall * np.clip(3 * along - 1.2, 0, 1) * np.clip(0.4 + down, 0, 1)
    if findings.holes > 0:
        spots = np.clip(lesions.noise(surface.shape, grid.rise, 7.0, rng) - 0.2, 0, 1.2)
        hu -= np.float32(findings.holes) * spots * np.clip(1.4 - 1.3 * down, 0, 1)
    fields[ChestField.LUNG_HU] = np.maximum(hu, -995)
    fields[ChestField.FISSURE] += 2.0 * fields[ChestField.TEXTURE]
    fields[ChestField.LESION] = fields[ChestField.DENSE] = -10
    near = surface < STEP
    if findings.involvement > 0 and near.any():
        spans = [np.flatnonzero(near.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        weight = np.clip(0.5 - surface[box] / STEP, 0, 1)
        share = findings.involvement
        if findings.lungs != "both":
            one = fields[ChestField.LEFT if findings.lungs == "left" else ChestField.RIGHT][box]
            both, weight = weight, np.clip(0.5 - one / STEP, 0, 1)
            share = lesions.share_of_one_lung(share, weight, both)
        levels = lesions.lesion_levels(findings, -surface[box], weight, share, along[box], down[box], grid.rise, rng)
        fields[ChestField.LESION][box], fields[ChestField.DENSE][box] = levels
    if findings.white:
        side = places[0] < 0 if findings.white == "right" else places[0] > 0
        fields[ChestField.LESION][side] = fields[ChestField.DENSE][side] = 2


def _add_nodules(findings: Findings, grid: CoarseGrid, places: Array, fields: Array, rng: np.random.Generator) -> None:
    """Add small round nodules to the blood, so that they have sharp edges and are not lesions in the mask."""
    for _ in range(findings.nodules):
        side = ChestField.RIGHT if rng.random() < 0.5 else ChestField.LEFT
        spot = vessels.tips_in(fields[side] + 6, places, 1, rng)
        radius = float(rng.uniform(3, 9))
        for centre in spot.tolist():
            nodule = Blob((centre[0], centre[1], centre[2]), (radius, radius, radius))
            for index in range(grid.shape[0]):
                add_blobs(fields[ChestField.BLOOD][index], grid, index, places[0, index], places[1, index], [nodule])
