"""What a person is told of a prediction: reasons to review it, what the networks are, lung zones, spread."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from cov3d.inference.about import about, map_note, task_note
from cov3d.inference.occlusion import PARTS, log_odds, occluded, zone_effects
from cov3d.inference.review import NO_LUNGS, disagreement, reasons, uncertainty
from cov3d.inference.task import Task
from cov3d.models.registry import REGISTRY
from cov3d.preprocessing.pipeline import preprocess
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.zones import LEFT, RIGHT, ZONES
from cov3d.training import checkpoint
from cov3d.volume import Volume
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.inference.cell_network import CellNetwork, cell_info, use_cell_network


def record_of(voxels: np.ndarray) -> dict[str, Any]:
    volume = Volume(voxels=voxels, path=Path("scan"), slices_found=len(voxels))
    return replace(preprocess(volume, [Size.TINY]).record, scan="scan").by_column()


@pytest.fixture(scope="module")
def chest_record() -> dict[str, Any]:
    return record_of(sphere_chest(depth=48))


def test_a_scan_like_those_trained_on_has_no_reason(chest_record: dict[str, Any]) -> None:
    assert reasons(chest_record, [cell_info(lung_share=(0.0, 1.0))]) == []


def test_more_or_less_lung_than_in_training_is_reported_with_the_numbers(chest_record: dict[str, Any]) -> None:
    share = 100 * float(chest_record["lung_share"])
    (more,) = reasons(chest_record, [cell_info(lung_share=(0.01, 0.02))])
    (less,) = reasons(chest_record, [cell_info(lung_share=(0.8, 0.9))])
    numbers = f"({share:.1f} % of the body; trained on"
    assert more == f"more lung in the picture than in any scan trained on {numbers} 1.0 to 2.0)"
    assert less == f"less lung in the picture than in any scan trained on {numbers} 80.0 to 90.0)"


def test_an_image_without_lungs_is_not_taken_for_a_chest() -> None:
    rng = np.random.default_rng(2)
    noise = rng.integers(150, 220, size=(20, 64, 64)).astype(np.uint8)
    assert reasons(record_of(noise), [cell_info()])[0] == NO_LUNGS


def test_missing_slices_and_assumptions_are_reasons(chest_record: dict[str, Any]) -> None:
    row = {**chest_record, "missing": 1, "corrupt": 3, "orientation": "assumed", "window": "assumed"}
    found = reasons(row, [cell_info(assumed=("window",))])
    assert found[:2] == ["1 slice is missing", "3 slices are unreadable"]
    assert len(found) == 3
    assert found[2].startswith("which way the patient lies")
    # A network that was trained on scans of which both were assumed knows such scans.
    assert reasons(row, [cell_info(assumed=("window", "orientation"))]) == found[:2]


def test_networks_that_disagree_and_passes_that_vary_are_reasons() -> None:
    three = np.array([[0.6, 0.4], [0.4, 0.6], [0.45, 0.55]], np.float32)
    assert disagreement(three) == "the networks disagree: 2 of 3 predict COVID-19"
    assert disagreement(three[1:]) == disagreement(three[:1]) == ""
    assert "±0.31" in uncertainty(0.31)
    assert uncertainty(0.1) == ""


def test_what_a_checkpoint_is_stands_in_a_sentence() -> None:
    info = cell_info(is_synthetic=True, score=0.36, score_interval=(0.2, 0.55), scored_scans=15)
    (sentence,) = about([info])
    assert "trained on 1 synthetic scan (all folds but 3)" in sentence
    assert (
        "presence macro F1 0.36 on fold 3 over 15 scans, 95 % interval 0.20 to 0.55; the epoch was chosen by this score"
        in sentence
    )
    assert sentence.endswith("its predictions mean nothing for patients")
    assert about([info, info])[0].startswith("2 networks, each: ")
    assert "could not be scored" in about([cell_info(score=math.nan)])[0]


def test_the_task_that_the_networks_were_not_chosen_for_is_named() -> None:
    presence, severity = cell_info(task="presence"), cell_info(task="severity")
    assert "predict with the severity.safetensors of the same run" in task_note([presence], Task.BOTH)
    assert task_note([presence, severity], Task.BOTH) == ""
    assert task_note([presence], Task.PRESENCE) == ""
    assert "for presence, predict with the presence.safetensors" in task_note([severity], Task.PRESENCE)


def test_zones_lie_right_and_left_upper_to_lower() -> None:
    voxels = sphere_chest(depth=48, side=128)
    volume = Volume(voxels=voxels, path=Path("scan"), slices_found=48)
    made = preprocess(volume, [Size.SMALL], find_zones=True)
    zones = made.zones[Size.SMALL]
    assert zones.shape == Size.SMALL.shape
    deep, _, across = np.indices(zones.shape)
    mean = {
        name: (deep[zones == place + 1].mean(), across[zones == place + 1].mean()) for place, name in enumerate(ZONES)
    }
    for side in ("right", "left"):
        assert mean[f"{side} upper"][0] < mean[f"{side} middle"][0] < mean[f"{side} lower"][0]
    for third in ("upper", "middle", "lower"):
        assert mean[f"right {third}"][1] < zones.shape[2] / 2 < mean[f"left {third}"][1]
    # the chest is the same on both sides
    right, left = (np.isin(zones, part).sum() for part in (RIGHT, LEFT))
    assert right == pytest.approx(left, rel=0.03)
    grey = made.voxels[Size.SMALL]
    assert np.median(grey[zones > 0]) == 55


def test_a_zone_is_replaced_by_the_level_of_aerated_lung() -> None:
    zones = np.array([[[0, 1, 1, 4, 4, 4]]], np.uint8)
    voxels = np.array([[[200, 50, 180, 60, 70, 180]]], np.uint8)
    assert occluded(voxels, zones, PARTS["right lung"]).tolist() == [[[200, 60, 60, 60, 70, 180]]]
    assert occluded(voxels, zones, PARTS["left upper"]).tolist() == [[[200, 50, 180, 60, 60, 60]]]


def test_the_effect_of_a_zone_is_a_difference_of_log_odds() -> None:
    zones = np.array([[[1, 2, 5]]], np.uint8)
    found = zone_effects(0.9, lambda part: 0.3 if 2 in part else 0.95, zones)
    assert found["right middle"] == pytest.approx(logit(0.9) - logit(0.3))
    assert found["right lung"] == found["right middle"]
    assert found["left lung"] == pytest.approx(logit(0.9) - logit(0.95))
    assert found["left lower"] == 0.0  # no lung there
    assert np.isfinite(log_odds(1.0))
    assert log_odds(0.2) == pytest.approx(logit(0.2))


@pytest.fixture
def lesion_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network that looks for what is brighter than tissue, and chests with such a spot or without."""
    use_cell_network(monkeypatch)
    for name, place in (("left", slice(86, 100)), ("none", slice(0, 0)), ("right", slice(28, 42))):
        voxels = sphere_chest(depth=48, side=128)
        voxels[24:34, 56:72, place] = 250
        write_slices(tmp_path / "scans" / f"ct_{name}", voxels)
    for dropout, name in ((0.0, "plain"), (0.5, "dropout")):
        network = CellNetwork(dropout=dropout)
        checkpoint.save(tmp_path / f"{name}.safetensors", network, cell_info(model={"dropout": dropout}))
    return tmp_path


def test_infer_explains_which_lung_speaks_for_the_prediction(lesion_scans: Path, cov3d: Command) -> None:
    out = lesion_scans / "out"
    ended = cov3d(
        *("infer", "--checkpoint", lesion_scans / "plain.safetensors", "--scans", lesion_scans / "scans", "--explain"),
        *("--output-dir", out, "--device", "cpu", "--jobs", 1, "--precision", "fp32", "--no-submission"),
    )
    assert ended.code == 0, ended.err
    table = pd.read_csv(out / "review.csv", index_col="scan")
    zones = [column for column in table if column.startswith("without_")]
    assert len(zones) == 8
    assert table.loc["ct_left", "without_left_lung"] > 0.05 > abs(table.loc["ct_left", "without_right_lung"])
    assert table.loc["ct_right", "without_right_lung"] > 0.05 > abs(table.loc["ct_right", "without_left_lung"])
    assert table.loc["ct_none", zones].abs().max() < 1e-4
    assert {file.relative_to(out / "maps").as_posix() for file in (out / "maps").rglob("*.gz")} == {
        f"ct_{which}/{of}.nii.gz" for which in ("left", "none", "right") for of in ("presence", "severity")
    }
    assert "the severity predictions come from the network whose epoch was chosen for presence" in " ".join(
        ended.out.split()
    )
    only = cov3d(
        *("infer", "--checkpoint", lesion_scans / "plain.safetensors", "--scans", lesion_scans / "scans"),
        *("--output-dir", lesion_scans / "again", "--device", "cpu", "--jobs", 1, "--no-submission", "--review-only"),
    )
    assert "Scans to review" in only.out


def test_dropout_passes_give_the_same_spread_each_time(lesion_scans: Path, cov3d: Command) -> None:
    def spreads(passes: int, folder: str) -> pd.Series:
        ended = cov3d(
            *("infer", "--checkpoint", lesion_scans / "dropout.safetensors", "--scans", lesion_scans / "scans"),
            *("--mc-dropout", passes, "--output-dir", lesion_scans / folder, "--device", "cpu", "--jobs", 1),
            "--no-submission",
        )
        assert ended.code == 0, ended.err
        return pd.read_csv(lesion_scans / folder / "review.csv", index_col="scan")["spread"]

    some, again = spreads(20, "some"), spreads(20, "again")
    pd.testing.assert_series_equal(some, again)
    assert (some[["ct_left", "ct_right"]] > 1e-3).all()
    assert some["ct_none"] < 1e-6  # nothing is brighter than tissue, so nothing can be dropped


def test_a_precision_that_cannot_be_combined_or_had_is_refused(lesion_scans: Path, cov3d: Command) -> None:
    words = ("infer", "--checkpoint", lesion_scans / "plain.safetensors", "--scans", lesion_scans / "scans")
    both = cov3d(*words, "--explain", "--precision", "bf16", "--output-dir", lesion_scans / "x")
    assert both.code == 2
    assert "cannot be combined" in both.err
    without = cov3d(*words, "--mc-dropout", 4, "--output-dir", lesion_scans / "x")
    assert without.code == 2
    assert "has no dropout" in without.err
    one = cov3d(*words, "--mc-dropout", 1, "--output-dir", lesion_scans / "x")
    assert one.code == 2
    assert "one pass has no spread" in one.err
    assert not (lesion_scans / "x").exists()


def test_networks_without_a_class_map_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert map_note([cell_info(), cell_info()]) == ""
    network = REGISTRY[cell_info().architecture]
    monkeypatch.setitem(REGISTRY, cell_info().architecture, replace(network, map_source=None))
    assert map_note([cell_info()]) == (
        f"{cell_info().architecture}: no class map, so only the effect of the lung zones is written"
    )
