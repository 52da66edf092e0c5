"""Which crops are doubtful, and in which words."""

from typing import Any

import pytest

from cov3d.preprocessing.doubt import find_doubts, score
from cov3d.preprocessing.pipeline import NO_LUNGS
from cov3d.preprocessing.record import ScanRecord
from tests.records import GOOD

OPAQUE = "90% of the lungs opaque"
BEYOND = "box 20% larger than the lungs on one side"


def records(*rows: dict[str, Any]) -> list[ScanRecord]:
    return [ScanRecord(**{"scan": f"scan_{number}", **GOOD, **row}) for number, row in enumerate(rows)]


def phrases(*rows: dict[str, Any], of: int = 0) -> list[str]:
    return [doubt.phrase for doubt in find_doubts(records(*rows))[f"scan_{of}"]]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({}, []),
        ({"crop": "fallback", "notes": NO_LUNGS, "z0": 0, "left_share": 0.0}, ["no lungs found"]),
        ({"z0": 0, "z1": 60, "y0": 0, "x1": 512}, []),
        ({"outside_box": 0.0123}, ["1.23% of the lungs outside the box"]),
        ({"other_air": 0.41}, ["air that looks like lung beside the lungs, 41% of them"]),
        ({"step": 0.6}, ["a lung ends abruptly, at 60% of its largest area"]),
        ({"beyond": 0.31}, ["box 31% larger than the lungs on one side"]),
        ({"cut_above": 0.5}, ["lungs cut off at the first slice"]),
        ({"cut_below": 0.9}, ["lungs cut off at the last slice"]),
        ({"lung_ml": 150.0}, ["lung volume 150 ml"]),
        ({"lung_ml": 12_000.0}, ["lung volume 12000 ml"]),
        ({"spacing_z": 1.0, "lung_ml": 3000.0}, ["box only 42 mm deep"]),
        ({"depth": 300, "slices_used": 300}, ["only 42 of 300 slices kept"]),
        ({"left_share": 0.72}, ["left lung is 72% of both lungs"]),
        ({"left_share": 0.31}, ["left lung is 31% of both lungs"]),
        ({"slices_used": 24, "depth": 24, "z1": 20}, ["only 24 slices"]),
        ({"opacity": 0.714}, ["71% of the lungs opaque"]),
        ({"notes": "1 unreadable slice left out (5); turned"}, ["1 unreadable slice left out (5)", "turned"]),
        ({"cut_above": 0.5, "beyond": 0.2, "opacity": 0.9}, [BEYOND, "lungs cut off at the first slice", OPAQUE]),
        ({"crop": "override", "z0": 0, "left_share": 0.9, "notes": "box given by a person, in place of …"}, []),
    ],
)
def test_what_is_odd_about_a_scan_is_reported(row: dict[str, Any], wanted: list[str]) -> None:
    assert phrases(row) == wanted
    assert (score(find_doubts(records(row))["scan_0"]) > 0) == bool(wanted)


def test_what_is_out_of_the_others_range_is_reported_once_there_are_enough_others() -> None:
    # Median 0.20 and median deviation 0.01: the range is 0.2 ± 3.5 · 1.4826 · 0.01 = 0.148 to 0.252.
    others = [{"lung_share": share} for share in (0.18, 0.19, 0.19, 0.2, 0.2, 0.2, 0.21, 0.21, 0.22) * 3]
    assert phrases({"lung_share": 0.26}, *others) == ["lung share 0.26, others 0.15 to 0.25"]
    assert phrases({"lung_share": 0.14}, *others) == ["lung share 0.14, others 0.15 to 0.25"]
    assert phrases({"lung_share": 0.25}, *others) == []
    assert phrases({"lung_share": 0.26}, *others[:18]) == []
    assert phrases({"lung_share": 0.26, "crop": "override"}, *others) == []


def test_scans_without_lungs_do_not_widen_the_range() -> None:
    others = [{"lung_share": share} for share in (0.19, 0.2, 0.21) * 8]
    lost = [{"lung_share": 0.0, "crop": "fallback"}] * 30
    assert phrases({"lung_share": 0.3}, *others, *lost) == ["lung share 0.30, others 0.15 to 0.25"]


def test_the_shape_of_the_box_is_compared_in_millimetres_where_they_are_known() -> None:
    tall = {"y0": 10, "y1": 510}
    assert phrases(tall, *[{}] * 25) == ["box height/width 1.25, others 0.72 to 0.78"]
    # 42 of 60 slices in most; the same lungs in a scan of the whole trunk take up fewer.
    assert phrases({"depth": 200}, *[{}] * 25) == ["share of slices kept 0.21, others 0.68 to 0.72"]
    known = {"spacing_z": 5.0, "spacing_y": 0.7, "spacing_x": 0.7, "lung_ml": 4000}
    assert phrases({**known, "depth": 200}, *[known] * 25) == []
    squat = {**known, "spacing_z": 2.0, "lung_ml": 1600}
    assert phrases(squat, *[known] * 25) == [
        "lung ml 1600, others 3860 to 4140",
        "box depth/width 0.30, others 0.72 to 0.78",
    ]


def test_the_gravest_doubt_comes_first_and_makes_the_order() -> None:
    doubts = find_doubts(records({"cut_above": 0.5}, {"crop": "fallback"}, {}, {"outside_box": 0.1}))
    assert sorted(doubts, key=lambda scan: -score(doubts[scan])) == ["scan_1", "scan_3", "scan_0", "scan_2"]
    assert find_doubts([]) == {}
