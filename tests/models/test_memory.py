"""Gradient checkpointing: the same step as without, for less memory."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cov3d.errors import Cov3dError
from cov3d.models.memory import checkpoint_activations
from cov3d.models.names import Architecture
from cov3d.models.registry import build

pytestmark = pytest.mark.usefixtures("one_thread")
VOLUMES = (2, 1, 8, 32, 32)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads add up the gradient of Swin's table of positions in another order each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(architecture: Architecture) -> nn.Module:
    torch.manual_seed(0)
    model = build(architecture, outputs=5, **({"dropout": 0.3} if architecture.has_dropout else {}))
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.3  # Swin's stochastic depth too, so that chance plays a part
    return model.train()


def step(model: nn.Module) -> tuple[Tensor, Tensor]:
    """A forward and a backward pass; the logits, and what chance gives next."""
    torch.manual_seed(1)
    logits = model(torch.rand(VOLUMES))
    logits.logsumexp(dim=1).sum().backward()
    return logits.detach(), torch.rand(1)


@pytest.mark.parametrize("architecture", Architecture)
def test_a_step_is_the_plain_networks_gradients_running_statistics_chance_and_all(architecture: Architecture) -> None:
    plain = network(architecture)
    saving = checkpoint_activations(copy.deepcopy(plain), architecture)
    assert list(saving.state_dict()) == list(plain.state_dict())
    for wanted, found in zip(step(plain), step(saving), strict=True):
        assert torch.equal(wanted, found)
    for name, wanted in plain.named_parameters():
        assert wanted.grad is not None
        assert torch.equal(wanted.grad, saving.get_parameter(name).grad), name
    for name, wanted in plain.named_buffers():
        assert torch.equal(wanted, saving.get_buffer(name)), name
    counted = [buffer for name, buffer in saving.named_buffers() if name.endswith("num_batches_tracked")]
    assert all(buffer == 1 for buffer in counted)
    assert bool(counted) == any(isinstance(layer, torch.nn.BatchNorm3d) for layer in plain.modules())


@pytest.mark.parametrize("architecture", Architecture)
def test_less_is_kept_for_the_backward_pass(architecture: Architecture) -> None:
    model = network(architecture)
    weights = {parameter.data_ptr() for parameter in model.parameters()}

    def kept() -> int:
        held: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in weights:
                held[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(torch.rand(VOLUMES))
        return sum(held.values())

    before = kept()
    checkpoint_activations(model, architecture)
    assert kept() < 0.4 * before


def test_nothing_is_computed_twice_where_no_gradient_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*arguments: Any, **options: Any) -> None:
        raise AssertionError

    model = checkpoint_activations(network(Architecture.RESNET), Architecture.RESNET)
    monkeypatch.setattr("cov3d.models.memory.checkpoint", unwanted)
    with torch.no_grad():
        model(torch.rand(VOLUMES))
    model.eval()(torch.rand(VOLUMES))
    with pytest.raises(AssertionError):
        model.train()(torch.rand(VOLUMES))


def test_a_network_without_the_blocks_that_its_entry_names_is_refused() -> None:
    with pytest.raises(Cov3dError, match="resnet has none of the blocks"):
        checkpoint_activations(nn.Linear(2, 2), Architecture.RESNET)
