"""How well do mask and box fit on real scans with lung masks?

    python benchmarks/real.py SCANS... [--pictures DIR]

SCANS are scans, or folders of them; masks are found beside them (see `real_scans.py`). Recall is the share of the
mask's voxels inside the box, tightness the box's volume over that of the mask's own box, Dice the overlap of the mask
with the one found, and each face's distance is that from the mask's own box, in voxels, positive outwards. With
`--pictures` every scan is drawn in three planes with both masks and the box.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from real_scans import RealScan, read_all
from rich.console import Console
from rich.table import Table

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.pipeline import FEET_FIRST, Located, locate

CELL = 240
MASK, FOUND, BOX = (0, 200, 0), (86, 180, 233), (230, 159, 0)
"""Colours of the mask given, the mask found and the box."""


def measure(scan: RealScan, located: Located) -> tuple[float, float, float, list[int]]:
    """Recall, tightness, Dice and the distances of the six faces (z0, z1, y0, y1, x0, x1)."""
    lungs = reference(scan, located)
    box = located.crop.box
    hits = [np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    own = np.prod([np.ptp(hit) + 1 for hit in hits])
    volume = np.prod([last - first for first, last in box.bounds])
    found = located.segmentation.grid.enlarged(located.segmentation.lungs, lungs.shape)
    dice = 2 * np.count_nonzero(found & lungs) / (np.count_nonzero(found) + np.count_nonzero(lungs))
    faces = []
    for hit, (first, last) in zip(hits, box.bounds, strict=True):
        faces += [int(hit[0]) - first, last - int(hit[-1]) - 1]
    return float(lungs[box.slices].sum() / lungs.sum()), float(volume / own), float(dice), faces


def reference(scan: RealScan, located: Located) -> NDArray[np.bool_]:
    """The scan's mask in the order of the located volume's slices."""
    assert scan.lungs is not None
    return scan.lungs[::-1] if FEET_FIRST in located.volume.notes else scan.lungs


def picture(scan: RealScan, located: Located) -> Image.Image:
    """Five axial, three coronal and two sagittal planes through the box."""
    voxels, box = located.volume.voxels, located.crop.box
    found = located.segmentation.grid.enlarged(located.segmentation.lungs, voxels.shape)
    given = None if scan.lungs is None else reference(scan, located)
    tiles = []
    for axis, shares in ((0, (0.1, 0.3, 0.5, 0.7, 0.92)), (1, (0.3, 0.5, 0.7)), (2, (0.25, 0.75))):
        first, last = box.bounds[axis]
        for share in shares:
            tiles.append(_plane(voxels, found, given, box, axis, min(last - 1, int(first + share * (last - first)))))
    sheet = Image.new("RGB", (5 * CELL, 2 * CELL))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % 5 * CELL, number // 5 * CELL))
    return sheet


def _plane(
    voxels: NDArray[np.uint8],
    found: NDArray[np.bool_],
    given: NDArray[np.bool_] | None,
    box: Box,
    axis: int,
    place: int,
) -> Image.Image:
    image = Image.fromarray(np.take(voxels, place, axis)).resize((CELL, CELL), Image.Resampling.BILINEAR).convert("RGB")
    pixels = np.array(image)
    for mask, colour in ((given, MASK), (found, FOUND)):
        if mask is not None:
            plane = Image.fromarray(np.take(mask, place, axis)).resize((CELL, CELL), Image.Resampling.NEAREST)
            pixels[_outline(np.asarray(plane))] = colour
    image = Image.fromarray(pixels)
    rows, columns = (other for other in range(3) if other != axis)
    scale = [CELL / voxels.shape[other] for other in (columns, rows)]
    (top, bottom), (left, right) = box.bounds[rows], box.bounds[columns]
    frame = (left * scale[0], top * scale[1], right * scale[0] - 1, bottom * scale[1] - 1)
    ImageDraw.Draw(image).rectangle(frame, outline=BOX)
    return image


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def main() -> None:
    """Read the command line, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path, metavar="SCANS")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each scan")
    options = parser.parse_args()
    table = Table("scan", "shape", "crop", "recall", "tightness", "Dice", "z0", "z1", "y0", "y1", "x0", "x1")
    found = []
    for scan in read_all(options.scans):
        located = locate(scan.volume)
        row = [scan.name, "×".join(map(str, scan.volume.voxels.shape)), located.crop.kind]
        if scan.lungs is not None:
            recall, tightness, dice, faces = measure(scan, located)
            found.append((recall, tightness, dice))
            row += [f"{recall:.4f}", f"{tightness:.3f}", f"{dice:.3f}", *map(str, faces)]
        table.add_row(*row)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            picture(scan, located).save(options.pictures / f"{scan.name.replace('/', '-')}.png")
    console = Console(width=150)
    console.print(table)
    if found:
        recall, tightness, dice = np.array(found).T
        console.print(
            f"{len(found)} masks: recall at least {recall.min():.4f}; tightness {np.median(tightness):.3f} at the "
            f"median, {tightness.max():.3f} at most; Dice at least {dice.min():.3f}"
        )


if __name__ == "__main__":
    main()
