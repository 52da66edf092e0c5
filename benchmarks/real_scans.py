"""Real scans and their lung masks, for the benchmarks that measure the crop on them.

A mask is looked for beside the scan: `SCAN_lungs.nii.gz` or `SCAN_lungs.npz` (array `mask`, slice 0 at the head), for a
folder `NAME_jpeg/<scan>` also `NAME_jpeg_lungs…` and `NAME_lungs…`. A mask that is coarser in plane than the scan by a
whole number is enlarged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from cov3d.readers import find_scans, read_volume
from cov3d.volume import Volume

MASK_ENDINGS = ("_lungs.npz", "_lungs.nii.gz", "_lungs.mha")


@dataclass(frozen=True)
class RealScan:
    """A scan as the benchmarks take it.

    Attributes:
        name: a short name for tables.
        volume: the canonical volume.
        lungs: bool, the volume's shape; None where there is no mask.
    """

    name: str
    volume: Volume
    lungs: NDArray[np.bool_] | None


def read_all(paths: list[Path]) -> Iterator[RealScan]:
    """Every scan at or below `paths`, masks left out, in order of its path."""
    found = [scan for path in paths for scan in _scans(path)]
    for scan in sorted(set(found)):
        volume = read_volume(scan)
        mask = mask_of(scan)
        lungs = None if mask is None else _fitted(_read_mask(mask), volume.voxels.shape, mask)
        yield RealScan("/".join(scan.parts[-2:]), volume, lungs)


def _scans(path: Path) -> Iterator[Path]:
    yield from (scan for scan in find_scans([path]) if not scan.name.endswith(MASK_ENDINGS))


def mask_of(scan: Path) -> Path | None:
    """The file that holds a scan's lung mask, if there is one beside it."""
    stem = scan.name.split(".")[0] if scan.is_file() else scan.name
    stems = [scan.parent / stem, scan.parent, scan.parent.with_name(scan.parent.name.removesuffix("_jpeg"))]
    for base in stems:
        for ending in MASK_ENDINGS:
            mask = base.with_name(base.name + ending)
            if mask.exists():
                return mask
    return None


def _read_mask(file: Path) -> NDArray[np.bool_]:
    """Slice 0 at the head, row 0 anterior, column 0 the patient's right."""
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return np.asarray(arrays["mask"] > 0)
    image = nibabel.load(file)
    lps = nibabel.orientations.axcodes2ornt(("L", "P", "I"))
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(image.affine), lps)
    return np.asarray(nibabel.orientations.apply_orientation(np.asarray(image.dataobj) > 0, turn)).T


def _fitted(mask: NDArray[np.bool_], shape: tuple[int, ...], file: Path) -> NDArray[np.bool_]:
    by = shape[1] // mask.shape[1]
    if mask.shape[0] != shape[0] or (mask.shape[1] * by, mask.shape[2] * by) != shape[1:]:
        raise SystemExit(f"the mask {file} has the shape {mask.shape}, its scan {shape}")
    return mask.repeat(by, axis=1).repeat(by, axis=2)
