"""The first layers of a ResNet in slabs of slices, against all slices at once, and batch norms folded into weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cov3d.models import slabs
from cov3d.models.folding import fold_batch_norms
from cov3d.models.registry import build
from cov3d.models.slabs import Stage, in_slabs


def some_network(architecture: str) -> nn.Module:
    """A network whose batch norms do something."""
    torch.manual_seed(1)
    network = build(architecture, outputs=5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.uniform_(layer.running_mean, -0.3, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -0.3, 0.3)
    return network.eval()


@settings(max_examples=40, deadline=None)
@given(depth=st.integers(1, 60), slices=st.integers(16, 40), strided=st.booleans())
def test_a_volume_in_slabs_gives_what_it_gives_at_once(depth: int, slices: int, strided: bool) -> None:
    torch.manual_seed(depth)
    stride = 2 if strided else 1
    first = nn.Conv3d(1, 3, 3, padding=1)
    second = nn.Sequential(
        nn.Conv3d(3, 2, 3, stride=(stride, 1, 1), padding=1), nn.ReLU(), nn.Conv3d(2, 2, 3, padding=1)
    )
    volume = torch.rand(1, 1, depth, 4, 5)
    with torch.inference_mode():
        whole = second(first(volume))
        stages = [Stage(first, halo=1), Stage(second, halo=1 + stride, stride=stride)]
        found = in_slabs(stages, volume, slices)
    assert found.shape == whole.shape
    assert torch.allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet", "r2plus1d", "mc3"])
def test_a_network_in_slabs_predicts_what_it_predicts_at_once(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, volumes = some_network(architecture), torch.rand(2, 1, 41, 32, 32)
    seen: list[int] = []
    monkeypatch.setattr(slabs, "_LEAST_SLICES", 16)
    monkeypatch.setattr(slabs, "_MOST_BYTES", 0)
    network.stem.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape[2]))
    with torch.inference_mode():
        whole = network(volumes)
        monkeypatch.setattr(slabs, "_WORTHWHILE", 0)
        found = network(volumes)
    assert seen[0] == 41
    assert max(seen[1:]) <= 18  # 16 and those before them
    assert torch.allclose(found, whole, atol=1e-5)
    network.train()
    seen.clear()
    network(volumes)
    assert seen == [41]  # training is not in slabs


@pytest.mark.parametrize(("architecture", "norms"), [("resnet", 0), ("r2plus1d", 16), ("mc3", 0), ("swin", 0)])
def test_folded_batch_norms_change_no_prediction(architecture: str, norms: int) -> None:
    network, volumes = some_network(architecture), torch.rand(1, 1, 16, 32, 32)
    with torch.inference_mode():
        before = network(volumes)
        after = fold_batch_norms(network)(volumes)
    assert sum(isinstance(layer, nn.BatchNorm3d) for layer in network.modules()) == norms
    assert torch.allclose(after, before, atol=1e-4)
    assert not torch.equal(before, torch.zeros_like(before))


def test_a_batch_norm_that_does_not_follow_a_convolution_stays() -> None:
    class Own(nn.Sequential):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self[1](values) + self[0](values)

    own = Own(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1)).eval()
    apart = nn.Sequential(nn.Conv3d(1, 1, 1), nn.ReLU(), nn.BatchNorm3d(1)).eval()
    for network in (own, apart):
        assert any(isinstance(layer, nn.BatchNorm3d) for layer in fold_batch_norms(network).modules())
