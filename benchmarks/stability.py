"""Does the crop hold still? Real scans and phantoms, changed in ways that move no lung.

    python benchmarks/stability.py SCANS... [--phantoms 20]

SCANS are scans, or folders of them; masks are found beside them (see `real_scans.py`). A face of the box has moved too
far by more than 3 % of the scan's extent (5 % where slices were cut or merged, 6 % where the scan was turned). Volume
lost is the share of the first box that the box of the changed scan, moved back, does not hold.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from changes import CHANGES, Changed
from numpy.typing import NDArray
from real_scans import RealScan, read_all
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.pipeline import FEET_FIRST, locate
from cov3d.volume import Volume

LOST = 0.05
"""More of the first box lost than this is counted."""


@dataclass(frozen=True)
class Moved:
    """What one change did to one scan. Masks' figures are NaN where there is none.

    Attributes:
        face: the furthest that a face moved, as a share of the scan's extent, and its name.
        too_far: whether that is more than the change allows.
        lost: share of the first box that is lost.
        recall, tightness: of the changed scan's box against its mask, and before the change.
    """

    scan: str
    change: str
    face: float
    name: str
    too_far: bool
    lost: float
    recall: float
    tightness: float
    recall_before: float
    tightness_before: float


def scores(lungs: NDArray[np.bool_], box: Box) -> tuple[float, float]:
    """Share of the lung within the box; its volume over that of the lung's own box. NaN without lung."""
    if not lungs.any():
        return np.nan, np.nan
    own = [np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    volume = np.prod([last - first for first, last in box.bounds])
    return float(lungs[box.slices].sum() / lungs.sum()), float(volume / np.prod([np.ptp(hit) + 1 for hit in own]))


def try_changes(scan: RealScan, changes: tuple[str, ...] = tuple(CHANGES)) -> list[Moved]:
    """Crop a scan, change it in every way, and crop it again."""
    voxels = scan.volume.voxels
    lungs = np.zeros(voxels.shape, dtype=bool) if scan.lungs is None else scan.lungs
    first, _ = _crop(scan.volume)
    before = scores(lungs, first)
    return [_compare(scan.name, name, first, before, CHANGES[name][0](voxels, lungs), voxels.shape) for name in changes]


def _crop(volume: Volume) -> tuple[Box, bool]:
    with threadpool_limits(1):
        located = locate(volume)
    return located.crop.box, FEET_FIRST in located.volume.notes


def _compare(
    scan: str,
    change: str,
    first: Box,
    before: tuple[float, float],
    changed: Changed,
    shape: tuple[int, ...],
) -> Moved:
    box, turned = _crop(Volume(np.ascontiguousarray(changed.voxels), Path(scan), len(changed.voxels)))
    recall, tightness = scores(changed.lungs[::-1] if turned else changed.lungs, box)
    moves, kept = {}, 1.0
    spans = zip(first.bounds, changed.back(box), changed.axes, shape, ("z", "y", "x"), strict=True)
    for (old_first, old_last), (new_first, new_last), axis, size, letter in spans:
        # What a cut took away can't be in the box: only the rest of the first box is asked for.
        gone = -axis.offset if letter == "z" and axis.scale == 1 else 0
        stop = min(old_last, gone + len(changed.voxels)) if letter == "z" and axis.scale == 1 else old_last
        old_first = max(old_first, gone)
        moves[f"{letter}0"], moves[f"{letter}1"] = abs(new_first - old_first) / size, abs(new_last - stop) / size
        shared = max(0.0, min(new_last, stop) - max(new_first, old_first))
        kept *= shared / (stop - old_first)
    name = max(moves, key=lambda face: moves[face])
    too_far = moves[name] > CHANGES[change][1]
    return Moved(scan, change, moves[name], name, too_far, 1 - kept, recall, tightness, *before)


def phantoms(count: int, seed: int) -> Iterator[RealScan]:
    """Ordinary phantoms of few and many slices, with their masks."""
    for number in range(count):
        scan = make_scan(seed, number=number, resolution=256)
        yield RealScan(f"phantom {number}", Volume(scan.voxels, Path("phantom"), len(scan.voxels)), scan.mask > 0)


def report(moved: list[Moved], console: Console) -> None:
    """Print a row a change, then what moved too far, one by one."""
    table = Table("change", "scans", "moved too far", "largest move", "volume lost > 5 %", "recall: least", "fell by")
    table.add_column("tightness: median (before)")
    for change in [*dict.fromkeys(one.change for one in moved), None]:
        here = [one for one in moved if change in (None, one.change)]
        masked = [one for one in here if not np.isnan(one.recall)]
        worst = max(here, key=lambda one: one.face)
        row = [change or "all", str(len(here)), str(sum(one.too_far for one in here))]
        row += [f"{worst.face:.1%} {worst.name}", str(sum(one.lost > LOST for one in here))]
        if masked:
            tight, was = (np.median([getattr(one, f"tightness{at}") for one in masked]) for at in ("", "_before"))
            row += [f"{min(one.recall for one in masked):.4f}"]
            row += [f"{max(one.recall_before - one.recall for one in masked):.2%}", f"{tight:.3f} ({was:.3f})"]
        table.add_row(*row)
    console.print(table)
    for one in moved:
        if one.too_far or one.lost > LOST or one.recall_before - one.recall > 0.005:
            console.print(
                f"{one.scan}, {one.change}: {one.name} moved {one.face:.1%}, {one.lost:.1%} lost, recall "
                f"{one.recall:.4f} (before {one.recall_before:.4f})"
            )


def scans_asked_for(description: str | None) -> list[RealScan]:
    """The scans and phantoms that the command line names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, metavar="SCANS")
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--seed", type=int, default=2718, help="of the phantoms (default: 2718)")
    options = parser.parse_args()
    scans = [*read_all(options.scans), *phantoms(options.phantoms, options.seed)]
    if not scans:
        parser.error("give scans, or --phantoms")
    return scans


def main() -> None:
    """Read the command line and measure."""
    scans = scans_asked_for(__doc__)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        moved = [one for found in pool.map(try_changes, scans) for one in found]
    report(moved, Console(width=150))


if __name__ == "__main__":
    main()
