"""Draw one slice from the fields of a chest: HU of each pixel, and the label map of lungs and lesions.

Tissues are painted over each other from the outside inwards, with edges as soft as the scan's.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cov3d.phantom import bones, vessels
from cov3d.phantom.chest import Chest, ChestField
from cov3d.phantom.geometry import Array, Box

AIR, FAT, MUSCLE, FLUID = -1000.0, -100.0, 52.0, 12.0
"""Densities, HU."""


def cut(chest: Chest, number: int) -> tuple[Array, NDArray[np.uint8]]:
    """Slice `number`: HU (height, width) and its label map, with the values of `PhantomScan.mask`."""
    z = float(chest.frame.z[number])
    planes = chest.grid.at(chest.fields, z)
    size = chest.frame.resolution
    hu, labels = np.full((size, size), AIR, np.float32), np.zeros((size, size), np.uint8)
    box = chest.up.box(planes[ChestField.SKIN] < 2)
    if box is None:
        return hu, labels
    hu[box] = _soft_parts(chest, planes, z, box)
    for field, tissue in ((ChestField.SOLID, chest.person.organ), (ChestField.HOLLOW, FLUID)):
        _paint(chest, hu, planes[field], tissue)
    _paint(chest, hu, planes[ChestField.BLOOD], chest.person.blood)
    _paint(chest, hu, planes[ChestField.BONES], 620 * chest.person.bone)
    _paint(chest, hu, planes[ChestField.BONES] + 3, 230 * chest.person.bone)
    _draw_spine(chest, hu, z)
    _draw_lung(chest, hu, labels, planes, z, "left")
    _draw_lung(chest, hu, labels, planes, z, "right")
    _paint(chest, hu, planes[ChestField.AIRWAY] - 1.1, 20.0)
    _paint(chest, hu, planes[ChestField.AIRWAY], AIR)
    _paint(chest, hu, planes[ChestField.GAS], AIR)
    cover = _cover(chest.up(planes[ChestField.SKIN], box), chest.edge)
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
    skin, texture = up(planes[ChestField.SKIN], box), up(planes[ChestField.TEXTURE], box)
    cage = up(planes[ChestField.CAGE], box)
    muscle = _cover(up(planes[ChestField.MUSCLE], box), edge)
    # Sheets of fat, with gaps, divide the muscles into layers that follow the rib cage.
    layer = cage * np.float32(1 / 13) + np.float32(0.22) * texture
    layer -= np.floor(layer)
    sheets = np.clip(1 - np.abs(layer - np.float32(0.5)) * 11, 0, 1)
    sheets *= np.clip(texture + np.float32(0.7), 0, 1)
    hu = np.float32(FAT) + muscle * (np.float32(MUSCLE - FAT) - 125 * sheets)
    if abs(z - 0.58 * chest.person.height) < 1.1 * chest.person.breast:
        # Glands: strands of soft tissue in the fat in front of the ribs.
        glands = np.clip(np.abs(texture) - np.float32(0.5), 0, 1)
        glands *= np.clip((cage - 38) * np.float32(0.1), 0, 1)
        hu += glands * (1 - muscle) * np.clip(-skin * np.float32(0.1), 0, 1) * 120
    hu += np.clip(1 - np.abs(skin + 1.2) / np.float32(1.5), 0, 1) * 130
    inside = _cover(cage, edge)
    # Organs are surrounded by fat inside the rib cage, and by muscle in the neck.
    neck = float(np.clip(0.3 - z / 30, 0, 1))
    packing = np.float32(FAT + 15 + 115 * neck) + 22 * texture
    hu += inside * (packing - hu)
    _draw_shell(chest, hu, cage, planes, z, box)
    return hu


def _draw_shell(chest: Chest, hu: Array, cage: Array, planes: Array, z: float, box: Box) -> None:
    """Draw ribs, breastbone and shoulder blades into `hu`, which covers only `box`, as `cage` does."""
    near = np.flatnonzero((cage.ravel() > -2) & (cage.ravel() < 38))
    bearing = chest.up(planes[ChestField.BEARING], box).ravel()[near]
    x = chest.frame.centres[box[1]][near % cage.shape[1]]
    y = chest.frame.centres[box[0]][near // cage.shape[1]]
    body_x, _ = chest.frame.to_body(x, y, z)
    density, share = bones.shell(chest.person, body_x, z, cage.ravel()[near], bearing, chest.edge)
    flat = hu.reshape(-1)
    flat[near] += share * (density - flat[near])


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
    chest: Chest, hu: Array, labels: NDArray[np.uint8], planes: Array, z: float, side: Literal["left", "right"]
) -> None:
    up, frame = chest.up, chest.frame
    field, label = (ChestField.LEFT, 1) if side == "left" else (ChestField.RIGHT, 2)
    box = up.box(planes[field] < chest.edge)
    if box is None:
        return
    distance = up(planes[field], box)
    # A thick slice blurs edges that slant through it, such as the dome of the diaphragm.
    half = frame.thickness / 2
    upper, lower = (chest.grid.at(chest.fields[field], z + offset) for offset in (-half, half))
    slant = up(np.abs(lower - upper), box)
    cover = np.clip(np.float32(0.5) - distance / (np.float32(chest.edge) + slant), 0, 1)
    tissue, lesion = _parenchyma(chest, planes, z, box, sick=chest.findings.lungs in ("both", side))
    if chest.findings.nodules:
        tissue += _cover(up(planes[ChestField.BLOOD], box), chest.edge) * (np.float32(40) - tissue)
    hu[box] += cover * (tissue - hu[box])
    inside = distance < 0
    labels[box][inside] = label
    if lesion is not None:
        labels[box][inside & lesion] = label + 2


def _parenchyma(
    chest: Chest, planes: Array, z: float, box: Box, *, sick: bool
) -> tuple[Array, NDArray[np.bool_] | None]:
    """HU of lung with fissure, vessels and, if `sick`, lesions within `box`, and the mask of the lesions."""
    up, findings = chest.up, chest.findings
    tissue = up(planes[ChestField.LUNG_HU], box)
    plate = np.clip(1 - np.abs(up(planes[ChestField.FISSURE], box)) / np.float32(chest.edge), 0, 1)
    tissue += plate * np.float32(170 / max(1.0, 0.5 * chest.frame.thickness))
    lesion = None
    if sick and findings.involvement > 0:
        level = up(planes[ChestField.LESION], box)
        lesion = level > 0
    if lesion is not None and not findings.hidden:
        dense = up(planes[ChestField.DENSE], box)
        glass = np.clip(0.3 + level / np.float32(findings.border), 0, 1) * np.clip(1 + level * 8, 0, 1)
        grain = 1 + 0.12 * up(planes[ChestField.TEXTURE], box)
        tissue += glass * grain * np.float32(findings.ground_glass)
        solid = np.clip(0.5 + dense * 5, 0, 1)
        tissue += solid * (np.float32(25) - tissue)
    blood = vessels.trace(chest.beads, chest.frame, z, box)
    tissue += blood * (np.float32(chest.person.blood) - np.minimum(tissue, chest.person.blood))
    return tissue, lesion
