"""Phantoms with lesions in one lung: where the lesions are in the voxels, and what the truth says of them."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cov3d.api.datasets import phantom
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.errors import Cov3dError, OutputError
from cov3d.labels import NON_COVID, SEVERITIES
from cov3d.phantom import PhantomScan, make_scan, write, write_phantom
from cov3d.phantom.lesions import FULLEST, INVOLVEMENT
from cov3d.phantom.plan import category_of, lungs_of, plan
from cov3d.readers import read_volume
from cov3d.volume import hounsfield_to_grey

SCANS, SEED, RESOLUTION = 12, 101, 64
LABELS = {"left": (1, 3), "right": (2, 4)}
OTHER = {"left": "right", "right": "left"}


@cache
def short_scan(seed: int, partition: str, number: int, *, resolution: int, lesions: LesionSides) -> PhantomScan:
    """A scan of the dataset below: with few slices, to keep the tests quick."""
    return make_scan(seed, partition, number, resolution=resolution, slices=28, lesions=lesions)


def difference(**settings: object) -> tuple[PhantomScan, NDArray[np.int_]]:
    """A scan, and how much brighter its voxels are than those of the same scan without lesions."""
    shown, hidden = make_scan(**settings), make_scan(**settings, hide_lesions=True)  # type: ignore[arg-type]
    return shown, shown.voxels.astype(int) - hidden.voxels


def middle_column(voxels: NDArray[np.uint8]) -> float:
    """The column in the middle of the body, from the voxels alone."""
    return float(np.nonzero(voxels > hounsfield_to_grey(-200))[2].mean())


@pytest.mark.parametrize("category", SEVERITIES)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("seed", [0, 1])
def test_lesions_change_voxels_of_the_named_lung_only(side: str, category: str, seed: int) -> None:
    scan, brighter = difference(
        seed=seed, category=category, resolution=96, slices=32, lesions=LesionSides(side), number=2 * seed
    )
    named, other = (np.isin(scan.mask, LABELS[name]) for name in (side, OTHER[side]))
    assert not brighter[other].any()
    assert (brighter[named] > 30).sum() > 0.7 * scan.lesion_mask.sum()
    assert brighter[scan.lesion_mask].mean() > 40
    assert not scan.lesion_mask[other].any()
    assert scan.lesion_side == side
    # Column 0 is the patient's right.
    columns = np.nonzero(brighter > 30)[2]
    beyond = columns > middle_column(scan.voxels) if side == "left" else columns < middle_column(scan.voxels)
    assert beyond.mean() > 0.97


def test_the_patients_right_is_the_side_of_the_liver() -> None:
    """The masks' sides against another organ: most of the soft tissue right below the lungs is liver."""
    scan = make_scan(0, category=NON_COVID, resolution=96, slices=48)
    lowest = np.flatnonzero((scan.mask > 0).any(axis=(1, 2)))[-1]
    middle = middle_column(scan.voxels)
    below = scan.voxels[lowest + 1]
    columns = np.nonzero((below > hounsfield_to_grey(20)) & (below < hounsfield_to_grey(100)))[1]
    assert (columns < middle).mean() > 0.55
    for side, labels in LABELS.items():
        assert (np.nonzero(np.isin(scan.mask, labels))[2].mean() < middle) == (side == "right")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_one_lung_has_the_involvement_of_the_severity_as_far_as_it_can(severity: str, side: str) -> None:
    for seed in range(3):
        scan = make_scan(seed, category=severity, resolution=80, slices=32, lesions=LesionSides(side))
        lungs = (scan.mask > 0).sum()
        share = np.isin(scan.mask, LABELS[side]).sum() / lungs
        low, high = INVOLVEMENT[severity]
        if severity in ("mild", "moderate"):
            assert low < scan.involvement < high
        assert scan.involvement == pytest.approx(min(scan.findings.involvement, FULLEST * share), abs=0.02)
        assert scan.involvement == scan.lesion_mask.sum() / lungs


def test_critical_lesions_of_one_lung_are_denser_than_severe_ones() -> None:
    def brightness(category: str) -> float:
        found = [
            difference(seed=seed, category=category, resolution=64, slices=24, lesions=LesionSides.LEFT)
            for seed in range(4)
        ]
        return float(np.mean([brighter[scan.lesion_mask].mean() for scan, brighter in found]))

    assert brightness("critical") > brightness("severe") + 3


def test_hidden_lesions_stay_in_the_mask_and_healthy_scans_have_none() -> None:
    scan, brighter = difference(seed=3, category=NON_COVID, resolution=64, slices=24, lesions=LesionSides.LEFT)
    assert not brighter.any()
    assert (scan.lesion_side, scan.lesion_mask.any()) == ("", False)
    settings = {"category": "mild", "resolution": 64, "slices": 24, "lesions": LesionSides.RIGHT}
    shown, hidden = make_scan(3, **settings), make_scan(3, **settings, hide_lesions=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(shown.mask, hidden.mask)


def test_a_white_lung_is_the_lung_with_lesions() -> None:
    for side in ("left", "right"):
        scan = make_scan(
            5, category="critical", resolution=64, slices=24, variant="one lung white", lesions=LesionSides(side)
        )
        assert (scan.lesion_side, scan.findings.white) == (side, side)


def test_a_scan_is_a_canonical_volume_with_its_truth() -> None:
    scan = make_scan(4, category="moderate", resolution=64, slices=24, lesions=LesionSides.LEFT)
    assert scan.volume.voxels is scan.voxels
    assert scan.volume.spacing == scan.spacing
    assert scan.lesion_mask.shape == scan.volume.voxels.shape
    assert (scan.category, scan.lesion_side) == ("moderate", "left")


@pytest.mark.parametrize(
    ("seed", "number", "mean", "lesion", "lung"),
    [
        (0, 0, 118.609, 3694, 21423),
        (0, 6, 120.853, 12760, 16196),
        (1, 2, 63.550, 4855, 8122),
        (7, 3, 105.453, 0, 11446),
    ],
)
def test_scans_with_lesions_in_both_lungs_are_those_of_earlier_versions(
    seed: int, number: int, mean: float, lesion: int, lung: int
) -> None:
    # Measured before lesions had sides. Voxels may differ by rounding between machines, but not by other draws.
    scan = make_scan(seed, number=number, resolution=80, slices=24)
    assert scan.voxels.mean() == pytest.approx(mean, abs=0.02)
    assert (scan.mask > 2).sum() == pytest.approx(lesion, abs=3)
    assert (scan.mask > 0).sum() == pytest.approx(lung, abs=3)


@pytest.mark.parametrize("partition", ["train", "validation", "task1", "task2"])
@pytest.mark.parametrize("seed", [0, 5])
def test_half_of_one_sided_scans_are_left(partition: str, seed: int) -> None:
    numbers = [number for number in range(200) if category_of(partition, number) != NON_COVID]
    sides = [lungs_of(LesionSides.ONE_SIDED, seed, partition, number) for number in numbers]
    assert sides.count("left") == sides.count("right") == len(sides) / 2
    assert {a == b for a, b in pairwise(sides)} == {True, False}
    for category in SEVERITIES:
        some = [side for side, number in zip(sides, numbers, strict=True) if category_of(partition, number) == category]
        assert 0.2 < some.count("left") / len(some) < 0.8
    assert sides != [lungs_of(LesionSides.ONE_SIDED, seed + 1, partition, number) for number in numbers]


@pytest.mark.parametrize("lesions", LesionSides)
def test_a_dataset_has_its_lesions_where_its_truth_says(
    lesions: LesionSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "make_scan", short_scan)
    table = write_phantom(tmp_path, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, lesions=lesions)
    truth = pd.read_csv(tmp_path / "phantom_truth.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(truth, table)
    assert list(truth.columns)[-2:] == ["involvement", "lesion_side"]
    sides = truth.loc[truth["severity"] != "", "lesion_side"]
    assert set(truth.loc[truth["severity"] == "", "lesion_side"]) == {""}
    expected = {LesionSides.BOTH: {"both"}, LesionSides.ONE_SIDED: {"left", "right"}}
    assert set(sides) == expected.get(lesions, {lesions})
    facts = json.loads((tmp_path / "phantom.json").read_text())
    assert facts.get("lesions", "both") == lesions
    if lesions == LesionSides.ONE_SIDED:
        by_partition = truth[truth["severity"] != ""].groupby(truth["scan"].str.split("/").str[0])["lesion_side"]
        for _, some in by_partition:
            assert abs((some == "left").sum() - (some == "right").sum()) <= 1
    for row, planned in zip(truth.itertuples(), plan(SCANS, SEED), strict=True):
        scan = short_scan(SEED, planned.partition, planned.number, resolution=RESOLUTION, lesions=lesions)
        assert (row.scan, row.lesion_side) == (planned.path, scan.lesion_side)
        written = read_volume(tmp_path / planned.path).voxels.astype(int)
        assert np.abs(written - scan.voxels).mean() < 6  # JPEG's error


@pytest.mark.parametrize("layout", PhantomLayout)
def test_the_choice_of_lungs_reaches_every_layout(
    layout: PhantomLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "make_scan", short_scan)
    table = phantom(tmp_path, scans=SCANS, seed=SEED, resolution=RESOLUTION, jobs=1, layout=layout, lesions="left")
    assert set(table["lesion_side"]) == {"left", ""}


def test_other_lungs_do_not_continue_an_interrupted_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def stopped(*arguments: object, **how: object) -> PhantomScan:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(len(made))
        return short_scan(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(write, "make_scan", stopped)
    settings = {"n_scans": SCANS, "seed": SEED, "resolution": RESOLUTION}
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, **settings, lesions=LesionSides.LEFT)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="not an empty folder"):
        write_phantom(tmp_path, **settings, lesions=LesionSides.RIGHT)  # type: ignore[arg-type]


def test_other_words_for_the_lungs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Cov3dError, match="lesions is one of both, left, right, one-sided, not 'middle'"):
        phantom(tmp_path / "data", lesions="middle")
    assert not (tmp_path / "data").exists()
