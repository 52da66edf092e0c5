"""Find the crops that a person should check, and the reasons.

A doubtful crop may still be correct. Some doubts come from the scan alone (measured in `signs`), others from comparing
the scan with the rest of the dataset. The normal range is computed from the median and the median absolute deviation,
which a few bad scans hardly change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from cov3d.preprocessing.pipeline import NO_LUNGS
from cov3d.preprocessing.record import ScanRecord, to_table

ENOUGH = 20
"""Minimum number of scans from which a normal range is computed."""

REACH = 3.5
"""Half-width of the range in standard deviations, estimated from the median deviation (Iglewicz and Hoaglin 1993)."""

FEW_SLICES = 30
"""With fewer slices, the shape of the lungs can't be recognised; scans of COV19-CT-DB have at least a few dozen."""

LEFT_SHARE = (0.35, 0.6)
"""Normal range of the left lung's share of both lungs. The heart takes some of its room: it is about 0.45 in health."""

OPAQUE = 0.65
"""If at least this share of the lungs is opaque, consolidation may hide their borders."""

OUTSIDE_BOX = 0.0002
"""If more than this share of the lungs lies outside the box, the crop lost a part of them."""

OTHER_AIR = 0.03
"""More lung-like air than this, as a share of the lungs, may be missed lung. Bowel and edges reach 0.003."""

STEP = 0.25
"""A lung that ends between two slices with more than this share of its largest area was cut off. Good masks reach
0.15."""

BEYOND = 0.15
"""The box is doubtful if a face is further from the lungs than this share of their extent: consolidation was
assumed there."""

CUT = 0.35
"""Lungs with more than this share of their largest area in the first or last slice were not scanned completely."""

LUNG_ML = (300.0, 10_000.0)
"""Volume of both lungs, from a small child to a tall person in full inspiration."""

LEAST_DEPTH_MM = 80.0
LEAST_KEPT = 0.2
"""A shallower box lost most of the lungs: depth in mm or, if the spacing is unknown, share of the slices."""


@dataclass(frozen=True)
class Doubt:
    """A short reason why a crop may be wrong, and its weight relative to other doubts."""

    phrase: str
    weight: int


def find_doubts(records: Sequence[ScanRecord]) -> dict[str, list[Doubt]]:
    """The doubts about each scan of a dataset, by scan, the most serious first; an empty list if there are none.

    There are no doubts about a box that a person gave.
    """
    doubts: dict[str, list[Doubt]] = {record.scan: [] for record in records}
    for record in records:
        if record.crop != "override":
            doubts[record.scan] += [*scan_doubts(record), *_note_doubts(record.notes)]
    for scan, doubt in _out_of_range(to_table(record for record in records if record.crop == "lungs")):
        doubts[scan].append(doubt)
    return {scan: sorted(found, key=lambda doubt: -doubt.weight) for scan, found in doubts.items()}


def score(doubts: Iterable[Doubt]) -> int:
    """Total weight of a scan's doubts; 0 if there are none."""
    return sum(doubt.weight for doubt in doubts)


def scan_doubts(record: ScanRecord) -> Iterator[Doubt]:
    """Doubts that do not depend on other scans."""
    if record.crop == "fallback":
        yield Doubt("no lungs found", 10)
        return
    yield from _lost(record)
    yield from _implausible(record)
    if record.slices_used < FEW_SLICES:
        yield Doubt(f"only {record.slices_used} slices", 2)
    if record.opacity >= OPAQUE:
        yield Doubt(f"{record.opacity:.0%} of the lungs opaque", 1)


def _lost(record: ScanRecord) -> Iterator[Doubt]:
    """Signs that the box or the masks lost a part of the lungs, or that the box is too large."""
    if record.outside_box > OUTSIDE_BOX:
        yield Doubt(f"{record.outside_box:.2%} of the lungs outside the box", 6)
    if record.other_air > OTHER_AIR:
        yield Doubt(f"air that looks like lung beside the lungs, {record.other_air:.0%} of them", 5)
    if record.step > STEP:
        yield Doubt(f"a lung ends abruptly, at {record.step:.0%} of its largest area", 4)
    if record.beyond > BEYOND:
        yield Doubt(f"box {record.beyond:.0%} larger than the lungs on one side", 3)
    for end, share in (("first", record.cut_above), ("last", record.cut_below)):
        if share > CUT:
            yield Doubt(f"lungs cut off at the {end} slice", 2)


def _implausible(record: ScanRecord) -> Iterator[Doubt]:
    """Signs of lungs or boxes that are anatomically implausible."""
    low, high = LEFT_SHARE
    if not low <= record.left_share <= high:
        yield Doubt(f"left lung is {record.left_share:.0%} of both lungs", 2)
    deep = record.z1 - record.z0
    millilitres, apart = record.lung_ml, record.spacing_z
    if millilitres is not None and not LUNG_ML[0] <= millilitres <= LUNG_ML[1]:
        yield Doubt(f"lung volume {millilitres:.0f} ml", 3)
    if apart is not None:
        if deep * apart < LEAST_DEPTH_MM:
            yield Doubt(f"box only {deep * apart:.0f} mm deep", 3)
    elif deep < LEAST_KEPT * record.depth:
        yield Doubt(f"only {deep} of {record.depth} slices kept", 3)


def _note_doubts(notes: str) -> Iterator[Doubt]:
    """Problems that were noted when the scan was read."""
    for note in notes.split("; "):
        if note and note != NO_LUNGS:
            yield Doubt(note, 1)


def _out_of_range(manifest: pd.DataFrame) -> Iterator[tuple[str, Doubt]]:
    for name, values in _measures(manifest).items():
        known = values.dropna()
        if len(known) < ENOUGH:
            continue
        middle = known.median()
        # If most values are equal, the deviation is 0: differences up to 1 % are never a doubt.
        reach = REACH * max(1.4826 * (known - middle).abs().median(), 0.01 * abs(middle))
        low, high = max(middle - reach, 0.0), middle + reach
        digits = 0 if middle > 10 else 2
        for index, value in known[(known < low) | (known > high)].items():
            phrase = f"{name} {value:.{digits}f}, others {low:.{digits}f} to {high:.{digits}f}"
            yield str(manifest.at[index, "scan"]), Doubt(phrase, 2)


def _measures(manifest: pd.DataFrame) -> dict[str, pd.Series]:
    """Measures that are similar in all chests, by name; depth in mm or, without spacing, as a share of the slices."""
    deep, high, wide = (manifest[f"{axis}1"] - manifest[f"{axis}0"] for axis in "zyx")
    apart, _, across = (pd.to_numeric(manifest[f"spacing_{axis}"]) for axis in "zyx")
    return {
        "lung share": manifest["lung_share"],
        "lung ml": pd.to_numeric(manifest["lung_ml"]),
        "box height/width": high / wide,
        "box depth/width": deep * apart / (wide * across),
        "share of slices kept": (deep / manifest["depth"]).where(apart.isna()),
    }
