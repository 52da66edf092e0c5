"""Are wrong crops doubted, and good ones left alone?

    python benchmarks/doubts.py SCANS... [--phantoms 100]

Every crop is first judged as it is: a doubt is a false alarm. Then it is made wrong on purpose, one face of the box
moved inwards by a tenth of the box, or one lung taken out of the mask and the box found anew: no doubt is a miss. Each
scan is judged by itself, as a single scan is; the doubts that compare scans with each other need twenty.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from real_scans import RealScan
from rich.console import Console
from rich.table import Table
from stability import scans_asked_for

from cov3d.preprocessing.crop import Crop, find_crop
from cov3d.preprocessing.doubt import find_doubts
from cov3d.preprocessing.pipeline import Located, locate, make_record

Judged = tuple[str, str, str]
"""Scan, what was done to its crop, and the doubts in one line."""


def judge(scan: RealScan) -> list[Judged]:
    """The doubts about a scan's crop, and about the same crop made wrong."""
    located = locate(scan.volume)
    if located.crop.kind != "lungs":
        return []
    return [(scan.name, name, doubts_about(one)) for name, one in [("as it is", located), *made_wrong(located)]]


def made_wrong(located: Located) -> Iterator[tuple[str, Located]]:
    """The crop with each face moved inwards, and without each lung."""
    box = located.crop.box
    for axis in "zyx":
        first, last = getattr(box, f"{axis}0"), getattr(box, f"{axis}1")
        by = round(0.1 * (last - first))
        for face, place in ((f"{axis}0", first + by), (f"{axis}1", last - by)):
            yield f"{face} cut", replace(located, crop=replace(located.crop, box=replace(box, **{face: place})))
    lungs = located.segmentation.lungs
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (int(columns[0]) + int(columns[-1]) + 1) // 2
    for name, side in (("right lung lost", slice(0, middle)), ("left lung lost", slice(middle, None))):
        rest = lungs.copy()
        rest[:, :, side] = False
        share = 1.0 if name.startswith("right") else 0.0
        segmentation = replace(located.segmentation, lungs=rest, left_share=share)
        depth, height, width = located.volume.voxels.shape
        crop: Crop = find_crop(segmentation, (depth, height, width))
        yield name, replace(located, segmentation=segmentation, crop=crop)


def doubts_about(located: Located) -> str:
    """The doubts about a crop by itself, in one line; empty where there are none."""
    record = replace(make_record(located), scan="scan")
    return "; ".join(doubt.phrase for doubt in find_doubts([record])["scan"])


def main() -> None:
    """Read the command line, judge and print."""
    scans = scans_asked_for(__doc__)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        judged = [one for found in pool.map(judge, scans) for one in found]
    table = Table("crop", "scans", "doubted")
    for change in dict.fromkeys(change for _, change, _ in judged):
        here = [doubts for _, name, doubts in judged if name == change]
        doubted = sum(bool(doubts) for doubts in here)
        table.add_row(change, str(len(here)), f"{doubted} ({doubted / len(here):.0%})")
    wrong = [doubts for _, name, doubts in judged if name != "as it is"]
    doubted = sum(map(bool, wrong))
    table.add_row("all made wrong", str(len(wrong)), f"{doubted} ({doubted / len(wrong):.1%})")
    console = Console(width=150)
    console.print(table)
    for scan, change, doubts in judged:
        if bool(doubts) == (change == "as it is"):
            console.print(f"{scan}, {change}: {doubts or 'not doubted'}")


if __name__ == "__main__":
    main()
