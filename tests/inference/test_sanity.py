"""The check of explanations passes a network that looks at lesions, and none that is blind, wrong or empty."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from cov3d.inference import sanity
from cov3d.inference.explanation import Explanation
from cov3d.inference.networks import Member
from cov3d.inference.sanity import Finding, Sanity, finding
from cov3d.preprocessing.zones import ZONES
from cov3d.reports.tables import sanity_table
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.inference.cell_network import CellNetwork, cell_info, use_cell_network

CPU = torch.device("cpu")


def explanation(right: float, left: float, at: int | None) -> Explanation:
    """An explanation with these effects, whose map is positive in zone `at` only."""
    zones = np.arange(7, dtype=np.uint8).reshape(1, 1, 7)
    density = np.full(zones.shape, -1.0, np.float32)
    if at is not None:
        density[zones == at] = 2.0
    effects = {**dict.fromkeys(ZONES, 0.0), "right lung": right, "left lung": left}
    return Explanation(zones * 0, zones, effects, "mild", density, density, None)


@pytest.mark.parametrize(
    ("right", "left", "at", "occlusion", "named"),
    [
        (0.4, 0.1, 2, "right", "right"),
        (-0.2, 0.1, 6, "left", "left"),
        (0.0, 0.0, None, "", ""),
        (0.04, 0.01, None, "", ""),
        (-0.3, -0.1, 0, "", ""),
    ],
)
def test_a_lung_is_named_by_the_larger_positive_effect(
    right: float, left: float, at: int | None, occlusion: str, named: str
) -> None:
    found = finding("left", 0.7, explanation(right, left, at))
    assert (found.occlusion, found.map) == (occlusion, named)


def test_shares_are_counted_and_an_empty_map_is_not_passed() -> None:
    right = Finding("right", 0.9, "right", "", None)
    wrong = Finding("left", 0.2, "right", "", None)
    found = Sanity((right,) * 9 + (wrong,))
    assert (found.occlusion, found.map, found.detected) == (0.9, 0.0, 0.9)
    assert found.passes == (True, False)
    assert found.inside_lungs is None


def test_a_network_without_a_map_is_judged_by_occlusion() -> None:
    without = replace(explanation(0.4, 0.1, None), presence_map=None, severity_map=None)
    found = Sanity((finding("right", 0.9, without),) * 2)
    assert (found.map, found.passes) == (None, (True,))
    console = Console(file=StringIO(), width=120)
    console.print(sanity_table(found, found))
    text = console.file.getvalue()
    assert "100%" in text
    assert "0%" not in text.replace("100%", "")  # a dash, not a map that names no lung


class Consolidation(nn.Module):
    """What has the grey levels of opaque lung speaks for COVID-19."""

    def forward(self, volumes: Tensor) -> Tensor:
        return torch.relu(0.12 - (volumes - 0.45).abs()) * 100


def test_a_network_that_looks_at_lesions_passes_and_a_blind_one_does_not() -> None:
    network = CellNetwork().eval()
    network.cells[0] = Consolidation()
    blind = CellNetwork().eval()
    blind.head.weight.data.zero_()
    with pytest.MonkeyPatch.context() as patch:
        use_cell_network(patch)
        sees, does_not = (
            sanity.check(Member(one, cell_info()), scans=6, seed=1000, device=CPU) for one in (network, blind)
        )
    assert sees.passes == (True, True)
    assert does_not.occlusion == does_not.map == 0.0
    assert [one.side for one in sees.findings] == ["right", "left"] * 3


def test_the_command_prints_both_networks(tmp_path: Path, cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    use_cell_network(monkeypatch)
    network = CellNetwork()
    checkpoint.save(tmp_path / "a.safetensors", network, cell_info())
    words = ("explain", "--checkpoint", tmp_path / "a.safetensors", "--scans", 2, "--seed", 5, "--device", "cpu")
    refused = cov3d(*words)
    assert refused.code == 2
    assert "infer --explain" in refused.err
    ended = cov3d(*words, "--sanity")
    assert ended.code == 0, ended.err
    assert "random weights" in ended.out
    assert "not passed" in ended.out
