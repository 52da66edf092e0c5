"""Augmentation (section 3.6, equation 8): reflection through the sagittal plane, brightness and contrast.

Random parameters are drawn separately from applying them, so that a draw can be tested, recorded and repeated. Both
are done for each scan.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEFT_RIGHT = -1
"""The axis of a volume along which the patient's right becomes left."""


@dataclass(frozen=True)
class Augmentation:
    """Random parameters for each scan of a batch; tensors of shape (batch,).

    Attributes:
        reflect: whether the scan is reflected, bool.
        brightness: B, added.
        contrast: C, the factor on the distance from mid-grey.
    """

    reflect: Tensor
    brightness: Tensor
    contrast: Tensor


def draw(batch: int, *, reflect: bool, brightness: float, contrast: float, generator: torch.Generator) -> Augmentation:
    """Draw parameters for a batch: reflection with probability 0.5, B ~ N(0, σ_b), C ~ LogNormal(0, σ_c).

    Args:
        batch: number of scans.
        reflect: whether to reflect scans.
        brightness: σ_b.
        contrast: σ_c.
        generator: random numbers, on the CPU, so that a draw is the same on every device.
    """
    coin = torch.rand(batch, generator=generator) < 0.5
    shift = torch.randn(batch, generator=generator) * brightness
    scale = (torch.randn(batch, generator=generator) * contrast).exp()
    return Augmentation(reflect=coin & reflect, brightness=shift, contrast=scale)


def apply(volumes: Tensor, augmentation: Augmentation) -> Tensor:
    """x' = C (x − 0.5) + 0.5 + B, and reflection; volumes of shape (batch, 1, depth, height, width), 0 to 1.

    The result is not clipped: the equation has no clipping, and it would undo the shift of bright and dark voxels.
    """
    drawn = torch.stack([augmentation.contrast, augmentation.brightness, augmentation.reflect.to(torch.float32)])
    if volumes.is_cuda:
        drawn = drawn.pin_memory()  # without it, the GPU waits for the copy
    drawn = drawn.to(volumes.device, volumes.dtype, non_blocking=True)
    scale, shift, reflected = drawn.view(3, -1, *[1] * (volumes.ndim - 1))
    volumes = torch.where(reflected > 0, reflect(volumes), volumes)
    return scale * (volumes - 0.5) + 0.5 + shift


def reflect(volumes: Tensor) -> Tensor:
    """The scans with left and right exchanged."""
    return volumes.flip(LEFT_RIGHT)


def to_network_input(voxels: Tensor) -> Tensor:
    """Convert grey levels `uint8` to float32 from 0 to 1, the range of equation 8."""
    return voxels.float() / 255.0


def reflected_probabilities(
    model: nn.Module, volumes: Tensor, logits: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Mean of the probabilities of the scans and of their reflections (section 3.6), float32, (batch, categories).

    Args:
        model: returns logits.
        volumes: input of the model.
        logits: of `volumes`, if they are already known.
        temperature: applied to the mean: each probability to the power of 1 / temperature, divided by their sum. It is
            fitted on such means (`fit_temperature`), so it must not be applied to the two logits separately.
    """
    if logits is None:
        logits = model(volumes)
    mirrored = model(reflect(volumes))
    mean = torch.stack([logits, mirrored]).float().softmax(dim=2).mean(dim=0)
    return mean if temperature == 1.0 else (mean.log() / temperature).softmax(dim=1)
