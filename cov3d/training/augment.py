"""Augmentation (section 3.6, equation 8): reflection through the sagittal plane, brightness and contrast.

What is drawn and how it is applied are apart, so that a draw can be tested, recorded and played again. Both happen
per scan, on the device that trains.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEFT_RIGHT = -1
"""The axis of a volume along which the patient's right becomes left."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to each scan of a batch; tensors of shape (batch,).

    Attributes:
        reflect: whether the scan is reflected, bool.
        brightness: B, added.
        contrast: C, the factor on the distance from mid-grey.
    """

    reflect: Tensor
    brightness: Tensor
    contrast: Tensor


def draw(batch: int, *, reflect: bool, brightness: float, contrast: float, generator: torch.Generator) -> Augmentation:
    """Draw for a batch: reflection of every other scan by chance, B ~ N(0, σ_b), C ~ LogNormal(0, σ_c).

    Args:
        batch: number of scans.
        reflect: whether scans are reflected at all.
        brightness: σ_b.
        contrast: σ_c.
        generator: the source of chance, on the CPU, so that a draw is the same on every device.
    """
    coin = torch.rand(batch, generator=generator) < 0.5
    shift = torch.randn(batch, generator=generator) * brightness
    scale = (torch.randn(batch, generator=generator) * contrast).exp()
    return Augmentation(reflect=coin & reflect, brightness=shift, contrast=scale)


def apply(volumes: Tensor, augmentation: Augmentation) -> Tensor:
    """x' = C (x − 0.5) + 0.5 + B, reflected where drawn; volumes of shape (batch, 1, depth, height, width), 0 to 1.

    The result is not clipped: the equation is not, and clipping would undo the shift where it matters.
    """
    drawn = torch.stack([augmentation.contrast, augmentation.brightness, augmentation.reflect.to(torch.float32)])
    if volumes.is_cuda:
        drawn = drawn.pin_memory()  # else the GPU waits for it
    drawn = drawn.to(volumes.device, volumes.dtype, non_blocking=True)
    scale, shift, reflected = drawn.view(3, -1, *[1] * (volumes.ndim - 1))
    volumes = torch.where(reflected > 0, reflect(volumes), volumes)
    return scale * (volumes - 0.5) + 0.5 + shift


def reflect(volumes: Tensor) -> Tensor:
    """The scans with left and right exchanged."""
    return volumes.flip(LEFT_RIGHT)


def to_network_input(voxels: Tensor) -> Tensor:
    """Grey levels `uint8` → float32 from 0 to 1, the range that equation 8 is written for."""
    return voxels.float() / 255.0


def reflected_probabilities(
    model: nn.Module, volumes: Tensor, logits: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Mean of the probabilities of the scans and of their reflections (section 3.6), float32, (batch, categories).

    Args:
        model: gives logits.
        volumes: what the model takes.
        logits: those of `volumes`, where they are known already.
        temperature: of the mean, 1 unless one was fitted: each probability to the power of 1 / temperature, and all
            divided by their sum. Fitted on a table of such means (`fit_temperature`), it does to them what it did
            there; dividing both logits by it would not.
    """
    if logits is None:
        logits = model(volumes)
    mirrored = model(reflect(volumes))
    mean = torch.stack([logits, mirrored]).float().softmax(dim=2).mean(dim=0)
    return mean if temperature == 1.0 else (mean.log() / temperature).softmax(dim=1)
