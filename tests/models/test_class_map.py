"""The class map of every network adds up to its logits, cell by cell."""

import numpy as np
import pytest
import torch

from cov3d.inference.evidence import captured, checked_map
from cov3d.models.class_map import relu_map
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build


@pytest.mark.parametrize("architecture", Architecture)
def test_cells_and_constant_add_up_to_the_logits_of_every_network(architecture: Architecture) -> None:
    torch.manual_seed(5)
    network = build(architecture, outputs=5).eval()
    source = REGISTRY[architecture].map_source
    if source is None:
        pytest.skip("this network has no class map")
    rng = np.random.default_rng(4)
    for scan in range(10):  # of two scans each
        shape = (32, 64 + 32 * (scan % 2), 64)
        volumes = torch.from_numpy(rng.random((2, 1, *shape), dtype=np.float32))
        volumes[0, 0, :10, :30, :30] *= 3
        with torch.inference_mode(), captured(network, source) as passes:
            network(volumes)
            ((features, logits),) = passes
            found = checked_map(network, source, features, logits)
        total = found.cells.double().sum(dim=(2, 3, 4)) + found.constant.double()
        assert found.cells.shape[:2] == (2, 5)
        assert found.cells[0, 0].numel() > 1
        assert (total - logits.double()).abs().max() < 1e-4
        # The cells lie as the source says: the first one's centre, and a step from one to the next, inside the input.
        for axis, count in enumerate(found.cells.shape[2:]):
            last = source.first[axis] + (count - 1) * source.stride[axis]
            assert 0 <= source.first[axis] <= last <= shape[axis]
            assert shape[axis] - last <= 2 * source.stride[axis]


def test_a_cell_behind_a_relu_adds_what_numpy_finds() -> None:
    rng = np.random.default_rng(0)
    hidden, head = torch.nn.Linear(6, 4), torch.nn.Linear(4, 3)
    features = rng.normal(size=(1, 6, 2, 3, 2)).astype(np.float32)
    found = relu_map(torch.from_numpy(features), hidden, head)
    v, c = hidden.weight.detach().numpy().astype(float), hidden.bias.detach().numpy().astype(float)
    w, b = head.weight.detach().numpy().astype(float), head.bias.detach().numpy().astype(float)
    a = features[0].astype(float).reshape(6, 12)
    on = (v @ a.mean(axis=1) + c > 0).astype(float)
    for cell in range(12):
        wanted = w @ (on * (v @ a[:, cell])) / 12
        assert found.cells.detach().numpy()[0].reshape(3, 12)[:, cell] == pytest.approx(wanted, abs=1e-6)
    assert found.constant.detach().numpy()[0] == pytest.approx(w @ (on * c) + b, abs=1e-6)
    assert found.logits.detach().numpy()[0] == pytest.approx(w @ np.maximum(v @ a.mean(axis=1) + c, 0) + b, abs=1e-5)
