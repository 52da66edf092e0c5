"""Augmentation: equation 8, the reflection, and what is drawn."""

import math

import pytest
import torch
from torch import nn

from cov3d.training.augment import Augmentation, apply, draw, reflect, reflected_probabilities, to_network_input


def drawn(reflected: bool, brightness: float, contrast: float) -> Augmentation:
    return Augmentation(torch.tensor([reflected]), torch.tensor([brightness]), torch.tensor([contrast]))


def volumes(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_equation_8_by_hand() -> None:
    x = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 1, 4)
    found = apply(x, drawn(False, 0.1, 1.2)).flatten()
    # 1.2 (x − 0.5) + 0.5 + 0.1
    assert found.tolist() == pytest.approx([0.0, 0.3, 0.6, 1.2], abs=1e-6)


def test_nothing_drawn_changes_nothing() -> None:
    x = volumes()
    assert torch.allclose(apply(x, drawn(False, 0.0, 1.0)), x)


def test_reflection_exchanges_left_and_right_only_and_is_its_own_inverse() -> None:
    x = volumes()
    found = apply(x, drawn(True, 0.0, 1.0))
    assert torch.allclose(found[..., 0], x[..., -1])
    assert torch.equal(reflect(reflect(x)), x)


def test_each_scan_of_a_batch_has_its_own_draw() -> None:
    x = torch.full((3, 1, 2, 2, 2), 0.5)
    augmentation = Augmentation(torch.zeros(3, dtype=torch.bool), torch.tensor([0.0, 0.1, -0.2]), torch.ones(3))
    assert apply(x, augmentation)[:, 0, 0, 0, 0].tolist() == pytest.approx([0.5, 0.6, 0.3])


def test_draws_follow_their_distributions() -> None:
    found = draw(20_000, reflect=True, brightness=0.04, contrast=0.1, generator=torch.Generator().manual_seed(0))
    assert found.reflect.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert found.brightness.mean().item() == pytest.approx(0, abs=0.001)
    assert found.brightness.std().item() == pytest.approx(0.04, rel=0.03)
    assert found.contrast.log().mean().item() == pytest.approx(0, abs=0.003)
    assert found.contrast.log().std().item() == pytest.approx(0.1, rel=0.03)


def test_a_draw_can_be_had_again_and_switched_off() -> None:
    options = {"brightness": 0.04, "contrast": 0.04}
    one, two = (draw(8, reflect=True, generator=torch.Generator().manual_seed(5), **options) for _ in range(2))
    assert torch.equal(one.brightness, two.brightness)
    off = draw(8, reflect=False, brightness=0, contrast=0, generator=torch.Generator().manual_seed(5))
    assert not off.reflect.any()
    assert (off.brightness == 0).all()
    assert (off.contrast == 1).all()


def test_network_input_is_from_0_to_1() -> None:
    found = to_network_input(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0, 0.2, 1])


def test_probabilities_are_averaged_not_logits() -> None:
    class Side(nn.Module):
        """Logits from the rightmost column alone."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value = x[..., -1].mean(dim=(1, 2, 3))
            return torch.stack([value, torch.zeros_like(value)], dim=1)

    x = torch.zeros(1, 1, 1, 1, 2)
    x[..., 1] = 3.0
    found = reflected_probabilities(Side(), x)[0, 0].item()
    # One side gives sigmoid(3), the other sigmoid(0); the mean of the logits would give sigmoid(1.5).
    assert found == pytest.approx((1 / (1 + math.exp(-3)) + 0.5) / 2)
