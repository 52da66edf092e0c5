"""One synthetic chest: its fields on the coarse grid, and the HU and label map of any slice through it."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cov3d.datasets.phantom import bones, lesions, trunk, vessels
from cov3d.datasets.phantom.anatomy import Person
from cov3d.datasets.phantom.geometry import (
    STEP,
    Array,
    Blob,
    Box,
    Frame,
    Grid,
    Upsampler,
    add_blobs,
    smooth_max,
)
from cov3d.datasets.phantom.lesions import Findings
from cov3d.datasets.phantom.organs import Organs, organ_fields

AIR, FAT, MUSCLE, FLUID = -1000.0, -100.0, 52.0, 12.0


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
) -> Chest:
    """Evaluate the anatomy on the coarse grid and grow the vessels; `softness` is the width of edges, mm."""
    grid = Grid(frame)
    fields = np.empty((len(Field), *grid.shape), np.float32)
    places = np.empty((3, *grid.shape), np.float32)
    for index in range(grid.shape[0]):
        x, y = grid.plane(index)
        places[0, index], places[1, index], places[2, index] = x, y, grid.z[index]
        _fill_plane(person, organs, findings, grid, index, x, y, fields)
    fields[Field.TEXTURE] = lesions.noise(grid.shape, grid.rise, 5.0, rng)
    _fill_lungs(person, findings, grid, places, fields, rng)
    _add_nodules(findings, grid, places, fields, rng)
    beads = vessels.join(
        [
            vessels.grow(root, vessels.tips_in(fields[side], places, count, rng), radius, rng)
            for side, roots in zip((Field.RIGHT, Field.LEFT), organs.roots, strict=True)
            for root, count, radius in zip(roots, (330, 230), (0.72, 0.7), strict=True)
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
    if findings.involvement > 0:
        near = surface < STEP
        spans = [np.flatnonzero(near.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        weight = np.clip(0.5 - surface[box] / STEP, 0, 1)
        levels = lesions.lesion_levels(findings, -surface[box], weight, along[box], down[box], grid.rise, rng)
        fields[Field.LESION][box], fields[Field.DENSE][box] = levels


def _add_nodules(
    findings: Findings, grid: Grid, places: Array, fields: Array, rng: np.random.Generator
) -> None:
    """Small round nodules, united with the blood: they keep their edge and are no lesion of the mask."""
    for _ in range(findings.nodules):
        side = Field.RIGHT if rng.random() < 0.5 else Field.LEFT
        spot = vessels.tips_in(fields[side] + 6, places, 1, rng)
        radius = float(rng.uniform(3, 9))
        for centre in spot.tolist():
            nodule = Blob((centre[0], centre[1], centre[2]), (radius, radius, radius))
            for index in range(grid.shape[0]):
                add_blobs(
                    fields[Field.BLOOD][index], grid, index, places[0, index], places[1, index], [nodule]
                )


def cut(chest: Chest, number: int) -> tuple[Array, NDArray[np.uint8]]:
    """Slice `number`: HU (height, width) and its label map, as `PhantomScan.mask` has it."""
    z = float(chest.frame.z[number])
    planes = chest.grid.at(chest.fields, z)
    size = chest.frame.resolution
    hu, labels = np.full((size, size), AIR, np.float32), np.zeros((size, size), np.uint8)
    box = chest.up.box(planes[Field.SKIN] < 2)
    if box is None:
        return hu, labels
    hu[box] = _soft_parts(chest, planes, z, box)
    for field, tissue in ((Field.SOLID, chest.person.organ), (Field.HOLLOW, FLUID)):
        _paint(chest, hu, planes[field], tissue)
    _paint(chest, hu, planes[Field.BLOOD], chest.person.blood)
    _paint(chest, hu, planes[Field.BONES], 620 * chest.person.bone)
    _paint(chest, hu, planes[Field.BONES] + 3, 230 * chest.person.bone)
    _draw_spine(chest, hu, z)
    for field, label in ((Field.LEFT, 1), (Field.RIGHT, 2)):
        _draw_lung(chest, hu, labels, planes, z, field, label)
    _paint(chest, hu, planes[Field.AIRWAY] - 1.1, 20.0)
    _paint(chest, hu, planes[Field.AIRWAY], AIR)
    _paint(chest, hu, planes[Field.GAS], AIR)
    cover = _cover(chest.up(planes[Field.SKIN], box), chest.edge)
    hu[box] = AIR + cover * (hu[box] - np.float32(AIR))
    return hu, labels


def _cover(distance: Array, edge: float) -> Array:
    return np.clip(np.float32(0.5) - distance * np.float32(1 / edge), 0, 1)


def _paint(chest: Chest, hu: Array, field: Array, tissue: float) -> None:
    box = chest.up.box(field < chest.edge)
    if box is not None:
        hu[box] += _cover(chest.up(field, box), chest.edge) * (np.float32(tissue) - hu[box])


def _soft_parts(chest: Chest, planes: Array, z: float, box: Box) -> Array:
    """Skin, fat, muscle, the fat inside the rib cage and the bones of its wall, within `box`."""
    up, edge = chest.up, chest.edge
    skin, texture = up(planes[Field.SKIN], box), up(planes[Field.TEXTURE], box)
    cage = up(planes[Field.CAGE], box)
    muscle = _cover(up(planes[Field.MUSCLE], box), edge)
    # Sheets of fat part the muscles into layers that follow the rib cage, with gaps.
    layer = cage * np.float32(1 / 13) + np.float32(0.22) * texture
    layer -= np.floor(layer)
    sheets = np.clip(1 - np.abs(layer - np.float32(0.5)) * 11, 0, 1) * np.clip(
        texture + np.float32(0.7), 0, 1
    )
    hu = np.float32(FAT) + muscle * (np.float32(MUSCLE - FAT) - 125 * sheets)
    if abs(z - 0.58 * chest.person.height) < 1.1 * chest.person.breast:
        # Glands: strands of soft tissue in the fat in front of the ribs.
        glands = np.clip(np.abs(texture) - np.float32(0.5), 0, 1) * np.clip(
            (cage - 38) * np.float32(0.1), 0, 1
        )
        hu += glands * (1 - muscle) * np.clip(-skin * np.float32(0.1), 0, 1) * 120
    hu += np.clip(1 - np.abs(skin + 1.2) / np.float32(1.5), 0, 1) * 130
    inside = _cover(cage, edge)
    # Inside the rib cage fat packs the organs; above it, in the neck, muscle does.
    neck = float(np.clip(0.3 - z / 30, 0, 1))
    packing = np.float32(FAT + 15 + 115 * neck) + 22 * texture
    hu += inside * (packing - hu)
    near = np.flatnonzero((cage.ravel() > -2) & (cage.ravel() < 38))
    bearing = up(planes[Field.BEARING], box).ravel()[near]
    x = chest.frame.centres[box[1]][near % cage.shape[1]]
    y = chest.frame.centres[box[0]][near // cage.shape[1]]
    body_x, _ = chest.frame.to_body(x, y, z)
    density, share = bones.shell(chest.person, body_x, z, cage.ravel()[near], bearing, edge)
    flat = hu.reshape(-1)
    flat[near] += share * (density - flat[near])
    return hu


def _draw_spine(chest: Chest, hu: Array, z: float) -> None:
    frame, half = chest.frame, 62 * chest.person.scale
    middle = chest.person.spine(z)
    column, row = frame.point_to_image(0.0, middle + 15, z)
    rows = slice(*np.searchsorted(frame.centres, [row - half, row + half]))
    columns = slice(*np.searchsorted(frame.centres, [column - half, column + half]))
    x, y = frame.to_body(frame.centres[None, columns], frame.centres[rows, None], z)
    if x.size == 0:
        return
    density, share = bones.spine(chest.person, x, y - np.float32(middle), z, chest.edge)
    patch = hu[rows, columns]
    patch += share * (density - patch)


def _draw_lung(
    chest: Chest, hu: Array, labels: NDArray[np.uint8], planes: Array, z: float, field: Field, label: int
) -> None:
    up, frame = chest.up, chest.frame
    box = up.box(planes[field] < chest.edge)
    if box is None:
        return
    distance = up(planes[field], box)
    # A slice as thick as this one blurs the edges that slant through it: the dome of the diaphragm.
    half = frame.thickness / 2
    slant = up(
        np.abs(chest.grid.at(chest.fields[field], z + half) - chest.grid.at(chest.fields[field], z - half)),
        box,
    )
    cover = np.clip(np.float32(0.5) - distance / (np.float32(chest.edge) + slant), 0, 1)
    tissue, lesion = _parenchyma(chest, planes, z, box)
    keep = (up(planes[Field.BLOOD], box) > 0) if chest.findings.nodules else None
    if keep is not None:
        tissue = np.where(keep, tissue, np.float32(40))
    hu[box] += cover * (tissue - hu[box])
    inside = distance < 0
    labels[box][inside] = label
    if lesion is not None:
        labels[box][inside & lesion] = label + 2


def _parenchyma(chest: Chest, planes: Array, z: float, box: Box) -> tuple[Array, NDArray[np.bool_] | None]:
    """HU of lung with fissure, lesions and vessels within `box`, and where the lesions are."""
    up, findings = chest.up, chest.findings
    tissue = up(planes[Field.LUNG_HU], box)
    plate = np.clip(1 - np.abs(up(planes[Field.FISSURE], box)) / np.float32(chest.edge), 0, 1)
    tissue += plate * np.float32(170 / max(1.0, 0.5 * chest.frame.thickness))
    lesion = None
    if findings.involvement > 0:
        level, dense = up(planes[Field.LESION], box), up(planes[Field.DENSE], box)
        lesion = level > 0
        glass = np.clip(0.3 + level / np.float32(findings.border), 0, 1) * np.clip(1 + level * 8, 0, 1)
        grain = 1 + 0.12 * up(planes[Field.TEXTURE], box)
        tissue += glass * grain * np.float32(findings.ground_glass)
        solid = np.clip(0.5 + dense * 5, 0, 1)
        tissue += solid * (np.float32(25) - tissue)
    blood = vessels.trace(chest.beads, chest.frame, z, box)
    tissue += blood * (np.float32(chest.person.blood) - np.minimum(tissue, chest.person.blood))
    return tissue, lesion
