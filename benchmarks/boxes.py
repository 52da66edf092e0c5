"""Is the crop box right? Recall of true lung voxels and tightness of the box, on phantoms and on any masked dataset.

    python benchmarks/boxes.py --ordinary 200 --hard 20 --seed 31337 --cache DIR
    python benchmarks/boxes.py --data DIR        scans with masks/<scan>.nii.gz, as `cov3d phantom DIR --masks` writes

Recall is the share of lung voxels inside the box; tightness is the box's volume over that of the lungs' own box.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from cov3d.phantom.scan import make_scan
from cov3d.phantom.variants import SICK, VARIANTS
from cov3d.preprocessing.pipeline import FEET_FIRST, locate
from cov3d.readers import read_volume
from cov3d.volume import Volume

ORDINARY = "ordinary"


@dataclass(frozen=True)
class Case:
    """A phantom to make, or a scan with its mask on disk."""

    kind: str
    seed: int = 0
    number: int = 0
    resolution: int = 256
    cache: Path = Path()
    scan: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Found:
    """What the crop was like. `recall` and `tightness` are NaN where there is no lung."""

    case: Case
    recall: float
    tightness: float
    crop: str
    empty: bool
    turned: bool


def measure(case: Case) -> Found:
    """Crop one scan and compare with its mask."""
    voxels, lungs = _phantom(case) if case.scan is None else _masked(case)
    with threadpool_limits(1):
        located = locate(Volume(voxels, Path("phantom"), len(voxels)))
    turned = FEET_FIRST in located.volume.notes
    if turned:
        lungs = lungs[::-1]
    box = located.crop.box
    inside = located.volume.voxels[box.slices]
    empty = inside.size == 0 or int(inside.max()) == int(inside.min())
    if not lungs.any():
        return Found(case, np.nan, np.nan, located.crop.kind, empty, turned)
    own = np.prod([int(np.ptp(axis)) + 1 for axis in np.nonzero(lungs)])
    return Found(
        case,
        float(lungs[box.slices].sum() / lungs.sum()),
        float(inside.size / own),
        located.crop.kind,
        empty,
        turned,
    )


def _phantom(case: Case) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    file = case.cache / f"{case.kind.replace(' ', '-')}-{case.seed}-{case.number}-{case.resolution}.npz"
    if not file.exists():
        scan = make_scan(
            case.seed,
            number=case.number,
            resolution=case.resolution,
            category="critical" if case.kind in SICK else None,
            variant=None if case.kind == ORDINARY else case.kind,
        )
        aside = file.with_name(f".{os.getpid()}.npz")
        np.savez(aside, voxels=scan.voxels, lungs=np.packbits(scan.mask > 0, axis=-1))
        aside.replace(file)
    with np.load(file, allow_pickle=False) as cached:
        voxels = cached["voxels"]
        return voxels, np.unpackbits(cached["lungs"], axis=-1, count=voxels.shape[2]).astype(bool)


def _masked(case: Case) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    assert case.scan is not None
    assert case.mask is not None
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(case.mask)), "LPI")
    return read_volume(case.scan).voxels, SimpleITK.GetArrayFromImage(image) > 0


def cases(options: argparse.Namespace, cache: Path) -> Iterator[Case]:
    """Every case that the command line asks for."""
    if options.data:
        for mask in sorted((options.data / "masks").rglob("*.nii.gz")):
            name = mask.relative_to(options.data / "masks").as_posix().removesuffix(".nii.gz")
            yield Case(str(options.data), scan=options.data / name, mask=mask)
        return
    for number in range(options.ordinary):
        yield Case(ORDINARY, options.seed, number, options.resolution, cache)
    for kind in options.kinds:
        for number in range(options.hard):
            yield Case(kind, options.seed, 10_000 + number, options.resolution, cache)


def report(found: list[Found]) -> None:
    """Print a row for each kind of scan, and one for all."""
    columns = (
        "kind",
        "scans",
        "recall ≥ 0.999",
        "≥ 0.995",
        "least",
        "tightness: median",
        "95th",
        "most",
        "crop",
        "turned",
    )
    table = Table(*columns, title="Crop boxes against true lungs")
    kinds = list(dict.fromkeys(one.case.kind for one in found))
    for kind in [*kinds, None]:
        here = [one for one in found if kind in (None, one.case.kind)]
        recall, tightness = (np.array([getattr(one, name) for one in here]) for name in ("recall", "tightness"))
        known = ~np.isnan(recall)
        fallback = sum(one.crop == "fallback" for one in here)
        row = [kind or "all", str(len(here))]
        if known.any():
            row += [f"{np.mean(recall[known] >= least):.1%}" for least in (0.999, 0.995)]
            row += [f"{recall[known].min():.4f}"]
            row += [f"{np.percentile(tightness[known], p):.3f}" for p in (50, 95, 100)]
        else:
            row += ["-"] * 6
        table.add_row(*row, f"{fallback} fallback" if fallback else "lungs", str(sum(one.turned for one in here)))
    console = Console(width=150)
    console.print(table)
    console.print(f"empty volumes: {sum(one.empty for one in found)}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ordinary", type=int, default=200, help="ordinary phantoms (default: 200)")
    parser.add_argument("--hard", type=int, default=20, help="phantoms of each hard kind (default: 20)")
    parser.add_argument("--kinds", nargs="*", default=list(VARIANTS), help="hard kinds to measure (default: all)")
    parser.add_argument("--seed", type=int, default=31337, help="their seed (default: 31337)")
    parser.add_argument("--resolution", type=int, default=256, help="pixels to a side (default: 256)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the phantoms for the next time")
    parser.add_argument("--data", type=Path, help="measure this dataset with masks instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        cache.mkdir(parents=True, exist_ok=True)
        todo = list(cases(options, cache))
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            report(list(track(pool.map(measure, todo, chunksize=2), "scans", len(todo), transient=True)))


if __name__ == "__main__":
    main()
