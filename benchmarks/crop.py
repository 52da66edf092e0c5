"""Is the crop box right? Recall of true lung voxels and tightness of the box, on phantoms and on any masked dataset.

    python benchmarks/crop.py --phantoms 40 --seed 77
    python benchmarks/crop.py --data DIR        a dataset with masks, as `cov3d phantom DIR --masks` writes it

Recall is the share of lung voxels inside the box; tightness is the box's volume over that of the lungs' own box.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK
from rich.console import Console
from rich.table import Table

from cov3d.datasets.phantom import write_phantom
from cov3d.preprocess.crop import find_crop
from cov3d.preprocess.lungs import segment
from cov3d.readers import read_volume


def measure(root: Path, mask_file: Path) -> tuple[str, float, float, str]:
    """Name, recall, tightness and kind of crop of one scan."""
    scan = mask_file.relative_to(root / "masks").as_posix().removesuffix(".nii.gz")
    voxels = read_volume(root / scan).voxels
    lungs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(mask_file))) > 0
    crop = find_crop(segment(voxels), (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    box = crop.box
    own = np.prod([int(np.ptp(axis)) + 1 for axis in np.nonzero(lungs)])
    volume = (box.z1 - box.z0) * (box.y1 - box.y0) * (box.x1 - box.x0)
    return scan, float(lungs[box.slices].sum() / lungs.sum()), float(volume / own), crop.kind


def report(root: Path) -> None:
    """Print the scans that miss the mark, and the distribution over all."""
    found = [measure(root, file) for file in sorted((root / "masks").rglob("*.nii.gz"))]
    recall, tightness = np.array([row[1] for row in found]), np.array([row[2] for row in found])
    good = (recall >= 0.995) & (tightness <= 1.3)
    table = Table("scan", "recall", "tightness", "crop", title="Scans with recall below 0.995 or tightness above 1.3")
    for row, fine in zip(found, good, strict=True):
        if not fine:
            table.add_row(row[0], f"{row[1]:.4f}", f"{row[2]:.3f}", row[3])
    console = Console()
    console.print(table)
    console.print(f"{good.sum()} of {len(found)} scans within; recall at least {recall.min():.4f}; tightness median")
    console.print(f"{np.median(tightness):.3f}, 95th percentile {np.percentile(tightness, 95):.3f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=40, help="number of phantoms to make (default: 40)")
    parser.add_argument("--seed", type=int, default=77, help="their seed (default: 77)")
    parser.add_argument("--resolution", type=int, default=256, help="pixels to a side (default: 256)")
    parser.add_argument("--data", type=Path, help="measure this dataset with masks instead")
    options = parser.parse_args()
    if options.data:
        report(options.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantoms"
        write_phantom(root, scans=options.phantoms, seed=options.seed, resolution=options.resolution, masks=True)
        report(root)


if __name__ == "__main__":
    main()
