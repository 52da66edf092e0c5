"""Prediction of raw scans, ensembles, names and submission files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from cov3d.challenge.submission import write_submission
from cov3d.errors import CheckpointError, DatasetError, ScanError
from cov3d.evaluation.temperature import scale
from cov3d.inference import networks
from cov3d.inference.names import name_scans
from cov3d.inference.networks import Member, Networks, ScanPrediction, load_members
from cov3d.inference.predict import Predictions, predict_each, predict_scans
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES
from cov3d.preprocessing.pipeline import preprocess_scan, settings
from cov3d.preprocessing.sizes import Size
from cov3d.training.checkpoint import CheckpointInfo
from tests.conftest import sphere_chest, write_slices
from tests.training.test_checkpoint import INFO

CPU = torch.device("cpu")


class Linear(nn.Module):
    """Logits that are a fixed linear function of the left and the right half's mean grey."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 5, generator=torch.Generator().manual_seed(seed)) * 8)

    def forward(self, volumes: Tensor) -> Tensor:
        half = volumes.shape[-1] // 2
        halves = [volumes[..., :half], volumes[..., half:]]
        return torch.stack([side.mean(dim=(1, 2, 3, 4)) for side in halves], dim=1) @ self.weight


def member(seed: int, size: Size = Size.TINY, lung_share: tuple[float, float] | None = None) -> Member:
    info = replace(INFO, size=size, preprocessing=settings(size), lung_share=lung_share)
    return Member(Linear(seed).eval(), info)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three scans that differ."""
    root = tmp_path_factory.mktemp("scans")
    chest = sphere_chest()
    for number, brighter in enumerate((0, 25, 45)):
        voxels = chest.copy()
        voxels[..., 48:][voxels[..., 48:] == 55] += np.uint8(brighter)
        write_slices(root / f"test_ct_scan_{number}", voxels)
    return name_scans(sorted(root.iterdir()))


def predicted(
    scans: Mapping[str, Path], members: Sequence[Member], *, jobs: int = 0, batch_size: int = 2, **how: Any
) -> Predictions:
    """The predictions of raw scans by the mean of networks."""
    loaded = Networks(members, CPU)
    infos = [one.info for one in members]

    def source(left: Mapping[str, Path]) -> Iterator[ScanPrediction]:
        return predict_each(left, loaded, jobs=jobs, batch_size=batch_size)

    return predict_scans(scans, infos, source, batch_size=batch_size, **how)


def by_hand(model: nn.Module, path: Path, size: Size) -> np.ndarray:
    """Probabilities of a scan worked out with NumPy from the model's weights."""
    voxels = preprocess_scan(path, [size]).voxels[size].astype(np.float64) / 255
    half = voxels.shape[2] // 2
    means = np.array([voxels[..., :half].mean(), voxels[..., half:].mean()])
    weight = model.weight.detach().numpy().astype(np.float64)  # type: ignore[union-attr]
    found = []
    for order in (means, means[::-1]):
        e = np.exp(order @ weight)
        found.append(e / e.sum())
    return np.mean(found, axis=0)


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table.filter(like="p_").to_numpy()


def test_a_scan_and_its_reflection_are_averaged(scans: dict[str, Path]) -> None:
    one = member(1)
    found = predicted(scans, [one])
    assert found.table["scan"].tolist() == sorted(scans)
    wanted = [by_hand(one.model, scans[scan], Size.TINY) for scan in sorted(scans)]
    assert probabilities(found.table) == pytest.approx(np.array(wanted), abs=1e-5)


def test_an_ensemble_averages_probabilities_and_conditional_severities(scans: dict[str, Path]) -> None:
    members = [member(1), member(2, Size.SMALL), member(3)]
    found = predicted(scans, members)
    each = np.array([[by_hand(m.model, scans[scan], m.info.size) for scan in sorted(scans)] for m in members])
    assert probabilities(found.table) == pytest.approx(each.mean(axis=0), abs=1e-5)
    conditional = (each[..., 1:] / (1 - each[..., :1])).mean(axis=0)
    wanted = [CATEGORIES[1:][index] for index in conditional.argmax(axis=1)]
    assert found.table["severity"].tolist() == wanted


def test_the_order_of_scans_the_batch_and_the_processes_change_nothing(scans: dict[str, Path]) -> None:
    plain = predicted(scans, [member(1)])
    other = predicted(dict(reversed(scans.items())), [member(1)], jobs=2, batch_size=3)
    assert plain.table["scan"].tolist() == other.table["scan"].tolist()
    assert probabilities(plain.table) == pytest.approx(probabilities(other.table), abs=1e-6)
    pd.testing.assert_frame_equal(plain.manifest, other.manifest)


def test_a_bad_scan_stops_or_is_listed(scans: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.jpg").write_bytes(b"x")
    more = {"bad": tmp_path / "bad", **scans}
    with pytest.raises(ScanError, match="none of the 1 slices"):
        predicted(more, [member(1)])
    found = predicted(more, [member(1)], skip_errors=True)
    assert list(found.failed) == ["bad"]
    assert found.table["scan"].tolist() == sorted(scans)
    with pytest.raises(ScanError, match="none of the 1 scans can be read"):
        predicted({"bad": tmp_path / "bad"}, [member(1)], skip_errors=True)


def test_scans_unlike_those_trained_on_are_doubtful(scans: dict[str, Path], tmp_path: Path) -> None:
    write_slices(tmp_path / "blank", np.full((8, 32, 32), 200, np.uint8))
    found = predicted({"blank": tmp_path / "blank", **scans}, [member(1, lung_share=(0.9, 1.0))])
    plain = predicted(scans, [member(1, lung_share=(0.0, 1.0))])
    assert found.review.keys() == {"blank", *scans}
    assert found.review["blank"][0].startswith("no lungs were found, so the networks saw the whole image")
    why = next(reason for reason in found.review[sorted(scans)[0]] if "lung in the picture" in reason)
    assert why.startswith("less lung in the picture than in any scan trained on (")
    assert why.endswith("trained on 90.0 to 100.0)")
    reported = ["; ".join(found.review[scan]) for scan in found.manifest["scan"]]
    assert found.manifest["doubtful"].tolist() == reported
    assert not any("trained on" in why for reasons in plain.review.values() for why in reasons)


def test_a_fitted_temperature_scales_what_the_network_says(scans: dict[str, Path]) -> None:
    plain = predicted(scans, [Member(Linear(1), replace(INFO, lung_share=None))])
    fitted = predicted(scans, [Member(Linear(1), replace(INFO, lung_share=None, temperature=2.5))])
    assert probabilities(fitted.table) == pytest.approx(scale(probabilities(plain.table), 2.5), abs=1e-6)


def test_members_that_can_not_be_averaged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = {
        "a": INFO,
        "b": replace(INFO, categories=("x", "y", "z")),
        "c": replace(INFO, preprocessing=INFO.preprocessing | {"hash": "other"}),
    }

    def load(file: Path) -> tuple[nn.Module, CheckpointInfo]:
        return Linear(0), infos[file.name]

    monkeypatch.setattr(networks.checkpoint, "load", load)
    assert len(load_members([Path("a"), Path("a")], CPU)) == 2
    with pytest.raises(CheckpointError, match="b has the categories x, y, z"):
        load_members([Path("a"), Path("b")], CPU)
    with pytest.raises(CheckpointError, match="c was trained on scans preprocessed by another version"):
        load_members([Path("c")], CPU)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/a/scan1", "/d/a/scan2"], ["scan1", "scan2"]),
        (["/d/a/scan1", "/d/b/c/scan1"], ["a/scan1", "b/c/scan1"]),
        (["/d/only"], ["only"]),
        (["/d/a", "/d/a/inner"], ["a", "a/inner"]),
    ],
)
def test_a_scan_is_named_below_the_deepest_shared_folder(paths: Sequence[str], names: Sequence[str]) -> None:
    assert list(name_scans(map(Path, paths))) == names


def test_names_do_not_depend_on_where_the_command_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(name_scans([Path("x/a"), tmp_path / "x" / "b"])) == ["a", "b"]


@pytest.fixture
def calls() -> pd.DataFrame:
    """Calls of five scans, out of order."""
    rows = [
        ("s/test_ct_scan_10", "covid", "severe"),
        ("s/test_ct_scan_9", "covid", "mild"),
        ("s/test_ct_scan_2", "non-covid", "mild"),
        ("t/test_ct_scan_1", "covid", "critical"),
        ("t/test_ct_scan_100", "non-covid", "severe"),
    ]
    return pd.DataFrame(rows, columns=["scan", "presence", "severity"])


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_presence_files_hold_each_name_once_sorted_by_number(calls: pd.DataFrame, tmp_path: Path) -> None:
    counts = write_submission(calls, CATEGORIES, tmp_path, Task.PRESENCE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["covid.csv", "non-covid.csv"]
    assert lines(tmp_path / "covid.csv") == ["test_ct_scan_1", "test_ct_scan_9", "test_ct_scan_10"]
    assert lines(tmp_path / "non-covid.csv") == ["test_ct_scan_2", "test_ct_scan_100"]
    assert counts == {"covid.csv": 3, "non-covid.csv": 2}


def test_the_severity_task_grades_every_scan_and_both_only_the_positive(calls: pd.DataFrame, tmp_path: Path) -> None:
    write_submission(calls, CATEGORIES, tmp_path / "severity", Task.SEVERITY)
    names = ("mild", "moderate", "severe", "critical")
    assert {name: len(lines(tmp_path / "severity" / f"{name}.csv")) for name in names} == {
        "mild": 2,
        "moderate": 0,
        "severe": 2,
        "critical": 1,
    }
    assert len(list((tmp_path / "severity").iterdir())) == 4
    write_submission(calls, CATEGORIES, tmp_path / "both", Task.BOTH)
    assert len(list((tmp_path / "both").iterdir())) == 6
    with_severity = [line for name in names for line in lines(tmp_path / "both" / f"{name}.csv")]
    assert sorted(with_severity) == sorted(lines(tmp_path / "both" / "covid.csv"))


def test_two_scans_of_one_name_are_refused(calls: pd.DataFrame, tmp_path: Path) -> None:
    calls.loc[4, "scan"] = "t/test_ct_scan_2"
    with pytest.raises(DatasetError, match=r"have the name test_ct_scan_2 \(s/test_ct_scan_2, t/test_ct_scan_2\)"):
        write_submission(calls, CATEGORIES, tmp_path, Task.BOTH)
    assert not list(tmp_path.iterdir())
