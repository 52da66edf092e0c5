"""Pulmonary vessels: trees that branch and taper from the hila outwards, and their image in a slice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cov3d.phantom.geometry import Array, Box, Frame

MURRAY = 2.6
"""Exponent of Murray's law: the radius of a branch to this power is the sum over its children."""


@dataclass(frozen=True)
class Beads:
    """Vessels as strings of beads, sorted by z: `points` (n, 3), `radii` (n,) and `lengths` (n,), in mm."""

    points: Array
    radii: Array
    lengths: Array


def grow(root: tuple[float, float, float], tips: Array, tip_radius: float, rng: np.random.Generator) -> Beads:
    """A tree from `root` to all `tips` (n, 3), as beads.

    The tips are split recursively along their widest extent. Each half gets a branch that ends part of the way to its
    centre, similar to bronchi and arteries. Without tips (no lung in view), the tree is empty.
    """
    if not len(tips):
        return Beads(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    starts: list[Array] = []
    ends: list[Array] = []
    loads: list[int] = []
    todo = [(np.asarray(root, np.float32), tips)]
    while todo:
        start, group = todo.pop()
        load = len(group)
        if load == 1:
            end = group[0]
        else:
            end = start + (group.mean(axis=0) - start) * np.float32(rng.uniform(0.3, 0.6))
            order = np.argsort(group[:, np.argmax(np.ptp(group, axis=0))], kind="stable")
            cut = max(1, min(load - 1, round(load * rng.uniform(0.3, 0.7))))
            todo += [(end, group[order[:cut]]), (end, group[order[cut:]])]
        starts.append(start)
        ends.append(end)
        loads.append(load)
    radii = tip_radius * np.asarray(loads, np.float32) ** np.float32(1 / MURRAY)
    return _string(np.stack(starts), np.stack(ends), radii, rng)


def _string(starts: Array, ends: Array, radii: Array, rng: np.random.Generator) -> Beads:
    """Beads along slightly bent segments, with the radius decreasing by a sixth along each."""
    spans = np.linalg.norm(ends - starts, axis=1)
    step = np.clip(radii, 0.8, 2.0)
    counts = np.maximum(np.ceil(spans / step), 1).astype(np.intp)
    owner = np.repeat(np.arange(len(counts)), counts)
    along = (np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[owner]
    t = along.astype(np.float32)[:, None]
    bend = rng.standard_normal(starts.shape).astype(np.float32) * (0.06 * spans[:, None])
    points = starts[owner] * (1 - t) + ends[owner] * t + bend[owner] * (4 * t * (1 - t))
    order = np.argsort(points[:, 2], kind="stable")
    tapered = radii[owner] * (1.08 - 0.16 * t[:, 0])
    return Beads(points[order], tapered[order], (spans / counts).astype(np.float32)[owner][order])


def join(parts: list[Beads]) -> Beads:
    """Combine several trees."""
    points = np.concatenate([part.points for part in parts])
    order = np.argsort(points[:, 2], kind="stable")
    return Beads(
        points[order],
        np.concatenate([part.radii for part in parts])[order],
        np.concatenate([part.lengths for part in parts])[order],
    )


def trace(beads: Beads, frame: Frame, z: float, box: Box) -> Array:
    """Share (0 to 1) of each pixel of `box` filled by vessels in the slice at z."""
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    largest = float(beads.radii.max(initial=0))
    reach = max(frame.thickness / 2, largest)
    near = slice(*np.searchsorted(beads.points[:, 2], [z - reach, z + reach]))
    slab = np.maximum(frame.thickness, 2 * beads.radii[near])
    offset = np.abs(beads.points[near, 2] - np.float32(z))
    chosen = np.flatnonzero(offset < slab / 2)
    points = beads.points[near][chosen]
    radii = beads.radii[near][chosen]
    # A vessel wider than the slice is cut like a sphere; a thinner one is averaged with its surroundings.
    thick = frame.thickness > 2 * radii
    cut = np.where(thick, radii, np.sqrt(np.maximum(radii**2 - offset[chosen] ** 2, 0))).astype(np.float32)
    weight = np.minimum(1, 1.3 * beads.lengths[near][chosen] / slab[chosen]).astype(np.float32)
    x, y = frame.to_image(points[:, 0], points[:, 1], points[:, 2])
    columns = (x + frame.fov / 2) / frame.pixel - 0.5 - box[1].start
    rows = (y + frame.fov / 2) / frame.pixel - 0.5 - box[0].start
    return _splat(rows, columns, cut / frame.pixel, weight, (height, width))


def _splat(rows: Array, columns: Array, radii: Array, weight: Array, shape: tuple[int, int]) -> Array:
    """Sum of discs (all lengths in pixels), computed for one window size at a time, and clipped at 1."""
    canvas = np.zeros(shape, np.float64)
    halves = np.ceil(radii + 0.5).astype(np.intp)
    for half in np.unique(halves).tolist():
        which = np.flatnonzero(halves == half)
        row, column = np.rint(rows[which]), np.rint(columns[which])
        steps = np.arange(-half, half + 1, dtype=np.float32)
        dy = (row - rows[which])[:, None, None] + steps[None, :, None]
        dx = (column - columns[which])[:, None, None] + steps[None, None, :]
        # A disc smaller than a pixel keeps its own area.
        small = np.maximum(radii[which], 0.5)
        share = weight[which] * np.minimum(1, (radii[which] / small) ** 2)
        value = np.clip(small[:, None, None] + 0.5 - np.sqrt(dy * dy + dx * dx), 0, 1) * share[:, None, None]
        y = row[:, None, None].astype(np.intp) + steps.astype(np.intp)[None, :, None]
        x = column[:, None, None].astype(np.intp) + steps.astype(np.intp)[None, None, :]
        y, x = np.broadcast_arrays(y, x)
        keep = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1]) & (value > 0)
        flat = y[keep] * shape[1] + x[keep]
        canvas += np.bincount(flat, weights=value[keep], minlength=canvas.size).reshape(shape)
    return np.minimum(canvas, 1).astype(np.float32)


def tips_in(lung: Array, coordinates: NDArray[np.float32], count: int, rng: np.random.Generator) -> Array:
    """`count` random points (n, 3), in mm, among the nodes at least 3 mm inside `lung` (a distance, mm).

    `coordinates` has shape (3, *lung.shape): x, y, z of the nodes.
    """
    inside = np.flatnonzero(lung.ravel() < -3)
    if len(inside) == 0:
        return np.zeros((0, 3), np.float32)
    chosen = rng.choice(inside, size=count)
    jitter = rng.uniform(-1.5, 1.5, (count, 3)).astype(np.float32)
    return np.asarray(coordinates.reshape(3, -1)[:, chosen].T + jitter, np.float32)
