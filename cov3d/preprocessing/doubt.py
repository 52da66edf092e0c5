"""Manifest → which crops a person should look at, and why.

A doubt is not a fault: a doubtful crop may be right. Some doubts are raised by the scan alone (`signs` measures it),
others because the scan is out of the range of the others. The range is drawn from the median and the median deviation,
which a few bad scans can't move.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cov3d.preprocessing.pipeline import NO_LUNGS

ENOUGH = 20
"""So many scans at least make a range to be out of."""

REACH = 3.5
"""Standard deviations, estimated from the median deviation, to which the range reaches (Iglewicz and Hoaglin 1993)."""

FEW_SLICES = 30
"""Fewer: too little to tell lungs by their shape; the scans of COV19-CT-DB start at a few dozen."""

LEFT_SHARE = (0.35, 0.6)
"""The left lung's share of both. The heart takes some of its room: in healthy people it is 0.45 or so."""

OPAQUE = 0.65
"""From this share of opaque lung, consolidation may hide where the lungs end."""

OUTSIDE_BOX = 0.0002
"""The crop lost something if more of the lungs than this share lies outside the box."""

OTHER_AIR = 0.03
"""More lung-like air than this, as a share of the lungs, may be missed lung. Bowel and edges make up to 0.003."""

STEP = 0.25
"""A lung that falls to nothing between two slices from more than this share of its largest area was cut; good masks
reach 0.15."""

BEYOND = 0.15
"""The box is doubtful if a face lies further from the lungs than this share of their extent: consolidation was
assumed."""

CUT = 0.35
"""Lungs with more than this share of their largest area in the first or last slice were not scanned completely."""

LUNG_ML = (300.0, 10_000.0)
"""Volume of both lungs, from a small child to a tall person in full inspiration."""

LEAST_DEPTH_MM = 80.0
LEAST_KEPT = 0.2
"""A box less deep than this lost most of the lungs. Where the spacing is unknown, a share of the slices."""


@dataclass(frozen=True)
class Doubt:
    """Why a crop may be wrong, in a few words, and how much that weighs beside other doubts."""

    phrase: str
    weight: int


def find_doubts(manifest: pd.DataFrame) -> dict[str, list[Doubt]]:
    """The doubts about every scan of a manifest, by scan, gravest first; an empty list where there are none.

    A scan whose box a person gave is settled: no doubts.
    """
    open_cases = manifest[manifest["crop"] != "override"]
    doubts: dict[str, list[Doubt]] = {scan: [] for scan in manifest["scan"]}
    for row in open_cases.to_dict("records"):
        doubts[row["scan"]] += [*_odd(row), *_noted(row["notes"])]
    for scan, doubt in _out_of_range(open_cases[open_cases["crop"] == "lungs"]):
        doubts[scan].append(doubt)
    return {scan: sorted(found, key=lambda doubt: -doubt.weight) for scan, found in doubts.items()}


def score(doubts: Iterable[Doubt]) -> int:
    """How doubtful a scan is, all its doubts together; 0 where there are none."""
    return sum(doubt.weight for doubt in doubts)


def _odd(row: Mapping[Any, Any]) -> Iterator[Doubt]:
    """What is odd about a scan in itself."""
    if row["crop"] == "fallback":
        yield Doubt("no lungs found", 10)
        return
    yield from _lost(row)
    yield from _implausible(row)
    if row["slices_used"] < FEW_SLICES:
        yield Doubt(f"only {row['slices_used']} slices", 2)
    if row["opacity"] >= OPAQUE:
        yield Doubt(f"{row['opacity']:.0%} of the lungs opaque", 1)


def _lost(row: Mapping[Any, Any]) -> Iterator[Doubt]:
    """Signs that the box or the masks lost something, or that the box holds what is no lung."""
    if row["outside_box"] > OUTSIDE_BOX:
        yield Doubt(f"{row['outside_box']:.2%} of the lungs outside the box", 6)
    if row["other_air"] > OTHER_AIR:
        yield Doubt(f"air that looks like lung beside the lungs, {row['other_air']:.0%} of them", 5)
    if row["step"] > STEP:
        yield Doubt(f"a lung ends at {row['step']:.0%} of its largest area", 4)
    if row["beyond"] > BEYOND:
        yield Doubt(f"box {row['beyond']:.0%} larger than the lungs at one side", 3)
    for end, share in (("first", row["cut_above"]), ("last", row["cut_below"])):
        if share > CUT:
            yield Doubt(f"lungs cut off at the {end} slice", 2)


def _implausible(row: Mapping[Any, Any]) -> Iterator[Doubt]:
    """Lungs and boxes that no person has."""
    low, high = LEFT_SHARE
    if not low <= row["left_share"] <= high:
        yield Doubt(f"left lung {row['left_share']:.0%} of both", 2)
    deep = row["z1"] - row["z0"]
    millilitres, apart = (pd.to_numeric(row[name]) for name in ("lung_ml", "spacing_z"))
    if pd.notna(millilitres) and not LUNG_ML[0] <= millilitres <= LUNG_ML[1]:
        yield Doubt(f"lungs of {millilitres:.0f} ml", 3)
    if pd.notna(apart):
        if deep * apart < LEAST_DEPTH_MM:
            yield Doubt(f"box only {deep * apart:.0f} mm deep", 3)
    elif deep < LEAST_KEPT * row["depth"]:
        yield Doubt(f"only {deep} of {row['depth']} slices kept", 3)


def _noted(notes: str) -> Iterator[Doubt]:
    """What was found wrong on reading the scan."""
    for note in notes.split("; "):
        if note and note != NO_LUNGS:
            yield Doubt(note, 1)


def _out_of_range(manifest: pd.DataFrame) -> Iterator[tuple[str, Doubt]]:
    for name, values in _measures(manifest).items():
        known = values.dropna()
        if len(known) < ENOUGH:
            continue
        middle = known.median()
        # Where most values are equal the deviation is 0: a hundredth of the value is no doubt in any case.
        reach = REACH * max(1.4826 * (known - middle).abs().median(), 0.01 * abs(middle))
        low, high = max(middle - reach, 0.0), middle + reach
        digits = 0 if middle > 10 else 2
        for index, value in known[(known < low) | (known > high)].items():
            phrase = f"{name} {value:.{digits}f}, others {low:.{digits}f} to {high:.{digits}f}"
            yield str(manifest.at[index, "scan"]), Doubt(phrase, 2)


def _measures(manifest: pd.DataFrame) -> dict[str, pd.Series]:
    """What is alike in all chests, by name; depth in mm, or as a share of the slices where there are none."""
    deep, high, wide = (manifest[f"{axis}1"] - manifest[f"{axis}0"] for axis in "zyx")
    apart, _, across = (pd.to_numeric(manifest[f"spacing_{axis}"]) for axis in "zyx")
    return {
        "lung share": manifest["lung_share"],
        "lung ml": pd.to_numeric(manifest["lung_ml"]),
        "box height/width": high / wide,
        "box depth/width": deep * apart / (wide * across),
        "share of slices kept": (deep / manifest["depth"]).where(apart.isna()),
    }
