"""Every network that can be trained: volumes of every size in, logits out."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build
from cov3d.preprocessing.sizes import Size


def test_every_name_has_a_network() -> None:
    assert set(REGISTRY) == set(Architecture)


@pytest.mark.parametrize("architecture", Architecture)
def test_every_network_maps_volumes_to_logits(architecture: Architecture) -> None:
    torch.manual_seed(0)
    model = build(architecture, outputs=5).eval()
    volumes = torch.rand(2, 1, 19, 43, 36)  # no multiple of any stride, patch or window
    with torch.inference_mode():
        logits = model(volumes)
        assert logits.shape == (2, 5)
        assert torch.isfinite(logits).all()
        assert torch.allclose(model(volumes[1:]), logits[1:], atol=1e-4)
    head = model.get_submodule(REGISTRY[architecture].head)
    assert isinstance(head, nn.Linear)
    assert head.out_features == 5


@pytest.mark.parametrize("architecture", Architecture)
def test_every_size_goes_through_every_network(architecture: Architecture) -> None:
    with torch.device("meta"), torch.inference_mode():  # shapes without numbers: the large ones need too much memory
        model = build(architecture, outputs=3)
        for size in Size:
            assert model(torch.empty(1, 1, *size.shape)).shape == (1, 3), size


def test_a_map_of_a_layer_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = REGISTRY[Architecture.RESNET]
    assert entry.map_source is not None
    wrong = replace(entry, map_source=replace(entry.map_source, layer="layer5"))
    monkeypatch.setitem(REGISTRY, Architecture.RESNET, wrong)
    with pytest.raises(TypeError, match="resnet: it has no layer layer5, which its map_source names"):
        build(Architecture.RESNET, outputs=5)


def test_an_argument_that_a_network_does_not_take_is_refused() -> None:
    assert not Architecture.SWIN.has_dropout
    for architecture in Architecture:
        if architecture.has_dropout:
            build(architecture, outputs=5, dropout=0.1)
    with pytest.raises(TypeError, match="dropout"):
        build(Architecture.SWIN, outputs=5, dropout=0.1)
