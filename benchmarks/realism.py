"""Are phantoms as hard as real CT? Grey levels, noise and edges of both, side by side.

    python benchmarks/realism.py --real SCAN --mask LUNGS.nii.gz

SCAN is a scan of any format that cov3d reads, LUNGS its lung mask on the same voxels, slice 0 at the head (a mask of a
coarser scan is enlarged). Phantoms are averaged down to the real scan's resolution first, since averaging takes off
noise and blurs edges.
"""

import argparse
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.grid import block_mean
from cov3d.preprocessing.lungs import segment
from cov3d.readers import read_volume


def measure(values: NDArray[np.float32], lungs: NDArray[np.bool_], body: NDArray[np.bool_]) -> dict[str, float]:
    """Grey levels of lung and of the air outside, noise in each, and how fast lung turns into tissue."""
    inner = ndimage.binary_erosion(lungs, iterations=2)
    outside = ndimage.binary_erosion(~body, iterations=4) & (values > 4)
    local = values - ndimage.uniform_filter(values, (1, 3, 3))
    flat = ndimage.binary_erosion(body & (values > 180) & (values < 215), iterations=2)
    gradient = np.hypot(*np.gradient(ndimage.gaussian_filter(values, (0, 0.5, 0.5)), axis=(1, 2)))
    edge = lungs ^ ndimage.binary_dilation(lungs, np.ones((1, 3, 3)))
    found = {f"lung, {p}th percentile": float(np.percentile(values[inner], p)) for p in (5, 25, 50, 75, 95)}
    found |= {f"air outside, {p}th": float(np.percentile(values[outside], p)) for p in (5, 50, 95)}
    found["lung median over air median"] = found["lung, 50th percentile"] - found["air outside, 50th"]
    found["fine structure in lung"] = float(local[inner].std())
    found["noise in air"] = float(np.median(np.abs(local[outside])) * 1.48)
    found["noise in soft tissue"] = float(np.median(np.abs(local[flat])) * 1.48)
    found["steepest step at the lung's edge"] = float(np.percentile(gradient[edge], 75))
    return found


def of_scan(voxels: NDArray[np.uint8], lungs: NDArray[np.bool_], step: tuple[int, int, int]) -> dict[str, float]:
    """`measure` on block means of `step` voxels."""
    values = block_mean(voxels, step)
    shares = block_mean(lungs.astype(np.uint8) * 255, step)
    segmentation = segment(voxels)
    depth, height, width = values.shape
    grid = segmentation.grid
    body = np.zeros(voxels.shape, dtype=bool)
    whole = np.repeat(np.repeat(np.repeat(segmentation.body, grid.step[0], 0), grid.step[1], 1), grid.step[2], 2)
    z, y, x = grid.origin
    part = body[z : z + whole.shape[0], y : y + whole.shape[1], x : x + whole.shape[2]]
    part[:] = whole[: part.shape[0], : part.shape[1], : part.shape[2]]
    small = block_mean(body.astype(np.uint8) * 255, step) > 127
    return measure(values, shares > 127, small[:depth, :height, :width])


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=24)
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--pixel", type=float, default=4.2, help="width of a pixel of the real scan, mm")
    options = parser.parse_args()
    voxels = read_volume(options.real).voxels
    mask = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(options.mask)), "LPI")) > 0
    by = voxels.shape[1] // mask.shape[1]
    mask = np.repeat(np.repeat(mask, by, axis=1), by, axis=2)
    real = of_scan(voxels, mask, (1, by, by))
    found = []
    for number in range(options.phantoms):
        scan = make_scan(options.seed, number=number, resolution=512, category="non-covid", slices=70)
        fit = max(1, round(options.pixel / scan.spacing[1]))
        found.append(of_scan(scan.voxels, scan.mask > 0, (1, fit, fit)))
    table = Table("grey levels", "real", "phantoms: least", "median", "most", title="Real CT and phantoms")
    for name, value in real.items():
        values = np.array([one[name] for one in found])
        row = (value, values.min(), float(np.median(values)), values.max())
        table.add_row(name, *(f"{number:.1f}" for number in row))
    Console().print(table)


if __name__ == "__main__":
    main()
