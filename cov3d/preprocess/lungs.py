"""Canonical volume → masks of body and lungs, by 3-D morphology (section 3.1, after CT-ORG: Rister et al. 2020).

The masks live on a reduced grid of about 100 slices of 128 pixels across the body: morphology there costs little,
and averaging takes off the noise. CT-ORG's rule is kept: lungs are the large pockets of air that no slice connects
to the outside. What it leaves open is settled here by shape before density, because the density of lung and of gas
lie close together in real scans (a median of 37 grey levels against 25 to 30): airways and bowel gas are too thin
for the opening that finds the lungs' cores, and a wide pocket counts as gas only if it is both uniform and as dark
as the air around the body.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cov3d.volume import hounsfield_to_grey

Mask = NDArray[np.bool_]

GRID_DEPTH = 100
GRID_WIDTH = 128
TISSUE = hounsfield_to_grey(-300.0)
"""Above: tissue. Even dense ground glass stays below it; consolidation does not."""

OPAQUE = hounsfield_to_grey(-650.0)
"""Above: lung with less air than it should have. In healthy lungs 3 to 5 % is: vessels."""

_PADDING = 4.0
"""At or below: no measurement (outside the round field of view), not air."""

_DISC = ndimage.generate_binary_structure(2, 1)[np.newaxis]
"""One pixel up, down, left and right within a slice; none across slices, whose distance a JPEG does not tell."""
_BALL = ndimage.generate_binary_structure(3, 1)

_CORE_RADIUS = 4
"""In-plane radius of the opening, in grid pixels of about 3 mm: wider than a trachea, narrower than a lung."""


@dataclass(frozen=True)
class Segmentation:
    """Masks on the reduced grid.

    Attributes:
        lungs: bool, shape (depth, height, width) of the grid; empty of True where no lungs were found.
        body: bool, same shape; everything within the skin, lungs included.
        step: voxels of the volume that one grid voxel spans along (depth, height, width).
        opacity: share of the lungs, their surface left out, that is denser than aerated lung; 0 to 1.
        left_share: the left lung's share of both lungs' volume, 0 to 1; 0.5 where there are none.
    """

    lungs: Mask
    body: Mask
    step: tuple[int, int, int]
    opacity: float
    left_share: float


def segment(voxels: NDArray[np.uint8]) -> Segmentation:
    """Find body and lungs in a canonical volume (`uint8`, (depth, height, width), grey levels of the CT window)."""
    step = _step(voxels)
    grid = block_mean(voxels, step)
    tissue = grid > TISSUE
    trunk = _trunk(tissue)
    outside = _outside(trunk)
    lungs = _lungs(grid, ~tissue & ~outside, _gas_level(grid, outside & ~tissue))
    inner = grid[ndimage.binary_erosion(lungs, _BALL)]
    opacity = float((inner > OPAQUE).mean()) if inner.size else 0.0
    return Segmentation(lungs=lungs, body=~outside, step=step, opacity=opacity, left_share=_left_share(lungs))


def _left_share(lungs: Mask) -> float:
    columns = lungs.sum(axis=(0, 1))
    if not columns.any():
        return 0.5
    hit = np.flatnonzero(columns)
    middle = (hit[0] + hit[-1] + 1) // 2
    return float(columns[middle:].sum() / columns.sum())


def block_mean(voxels: NDArray[np.uint8], step: tuple[int, int, int]) -> NDArray[np.float32]:
    """Mean over blocks of `step` voxels, float32; a last, partial block is filled by repeating the edge."""
    padding = [(0, -size % by) for size, by in zip(voxels.shape, step, strict=True)]
    if any(after for _, after in padding):
        voxels = np.pad(voxels, padding, mode="edge")
    depth, height, width = (size // by for size, by in zip(voxels.shape, step, strict=True))
    # In-plane first and in integers: no float copy of the whole volume is ever made.
    rows = voxels.reshape(depth * step[0], height, step[1], width * step[2]).sum(axis=2, dtype=np.uint16)
    cells = rows.reshape(depth, step[0], height, width, step[2]).sum(axis=(1, 4), dtype=np.uint32)
    return cells.astype(np.float32) / np.float32(np.prod(step))


def _step(voxels: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Voxels to a grid voxel, such that the body, however small in the field of view, spans the grid's width."""
    depth, height, width = voxels.shape
    coarse = tuple(max(1, round(size / by)) for size, by in ((depth, 25), (height, 64), (width, 64)))
    trunk = _trunk(block_mean(voxels, (coarse[0], coarse[1], coarse[2])) > TISSUE)
    extent = max(np.ptp(np.flatnonzero(trunk.any(axis=(0, 1)))) + 1, 1) if trunk.any() else trunk.shape[2]
    in_plane = max(1, round(min(extent * coarse[2], width) / GRID_WIDTH))
    return max(1, round(depth / GRID_DEPTH)), in_plane, in_plane


def _trunk(tissue: Mask) -> Mask:
    """The largest connected piece of tissue, after an opening that takes table, clothes and cables off it."""
    opened = ndimage.binary_erosion(tissue, _DISC, iterations=2, border_value=1)
    largest = _largest(opened)
    return ndimage.binary_dilation(largest, _DISC, iterations=3) & tissue


def _largest(mask: Mask) -> Mask:
    components, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def _outside(trunk: Mask) -> Mask:
    """What a path within one slice joins to the image border without crossing the trunk."""
    in_slice = np.zeros((3, 3, 3), dtype=bool)
    in_slice[1] = _DISC[0]
    components, count = ndimage.label(~trunk, structure=in_slice)
    on_border = np.zeros(count + 1, dtype=bool)
    for edge in (components[:, 0], components[:, -1], components[:, :, 0], components[:, :, -1]):
        on_border[edge] = True
    on_border[0] = False
    return on_border[components]


def _gas_level(grid: NDArray[np.float32], air_outside: Mask) -> float:
    """Grey level of gas in this scan, from the darker half of the air around the body (foam is in the other half)."""
    values = grid[air_outside & (grid > _PADDING)]
    return float(np.percentile(values, 25)) if values.size else hounsfield_to_grey(-1000.0)


def _lungs(grid: NDArray[np.float32], air: Mask, gas: float) -> Mask:
    """The lungs among the pockets of air within the body."""
    core = ndimage.binary_erosion(air, _DISC, iterations=_CORE_RADIUS, border_value=1)
    components, count = ndimage.label(core, structure=_BALL)
    if not count:
        return np.zeros_like(air)
    index = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(core, components, index)
    dark = ndimage.median(grid, components, index) < gas + 5.0
    spread = ndimage.standard_deviation(grid, components, index) < 4.0
    kept = (sizes >= max(0.02 * sizes.max(), 20)) & ~(dark & spread)
    cores = np.concatenate([[False], kept])[components]
    # Back to the full width, and a little along the tapering ends, but not up the trachea.
    reach = ndimage.binary_dilation(cores, _DISC, iterations=_CORE_RADIUS + 1)
    reach = ndimage.binary_dilation(reach, _BALL, iterations=3)
    lungs = _largest_two(reach & air)
    return ndimage.binary_closing(lungs, _DISC, iterations=3) if lungs.any() else lungs


def _largest_two(mask: Mask) -> Mask:
    """The two lungs, which may be one piece or two, and anything nearly as large as the smaller (a split lobe)."""
    components, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    second = np.sort(sizes)[-2] if count > 1 else sizes.max()
    return (sizes >= max(0.25 * second, 0.01 * sizes.max()))[components] & mask
