"""Name → network. A further backbone is a builder, its weights, and a forward test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models import WeightsEnum

from cov3d.models.names import Architecture
from cov3d.models.resnet3d import WEIGHTS as RESNET_WEIGHTS
from cov3d.models.resnet3d import ResNet3d


@dataclass(frozen=True)
class Entry:
    """How a network is made, and torchvision's weights that it can start from."""

    build: Callable[..., nn.Module]
    weights: WeightsEnum


REGISTRY = {
    Architecture.RESNET: Entry(build=ResNet3d, weights=RESNET_WEIGHTS),
}


def build(
    architecture: Architecture, *, outputs: int, dropout: float, kinetics: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Make a network for one-channel volumes.

    Args:
        architecture: which.
        outputs: number of categories.
        dropout: probability that an activation is dropped.
        kinetics: pretrained weights, as `cov3d.models.weights` gives them; None for random ones.
    """
    return REGISTRY[architecture].build(outputs=outputs, dropout=dropout, kinetics=kinetics)
