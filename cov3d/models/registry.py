"""Name → network. A further backbone is a small function that makes it, its weights, and a forward test.

Whatever the function makes ends in a linear layer called `head`: that is where a transfer maps categories.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.models.video import MC3_18_Weights, R2Plus1D_18_Weights, R3D_18_Weights, Swin3D_T_Weights

from cov3d.models.names import Architecture
from cov3d.models.resnet3d import mc3, r2plus1d, resnet
from cov3d.models.swin3d import swin


@dataclass(frozen=True)
class Entry:
    """How a network is made, and torchvision's weights that it can start from."""

    build: Callable[..., nn.Module]
    weights: WeightsEnum


REGISTRY = {
    Architecture.RESNET: Entry(build=resnet, weights=R3D_18_Weights.KINETICS400_V1),
    Architecture.SWIN: Entry(build=swin, weights=Swin3D_T_Weights.KINETICS400_V1),
    Architecture.R2PLUS1D: Entry(build=r2plus1d, weights=R2Plus1D_18_Weights.KINETICS400_V1),
    Architecture.MC3: Entry(build=mc3, weights=MC3_18_Weights.KINETICS400_V1),
}


def build(
    architecture: Architecture, *, outputs: int, kinetics: Mapping[str, Tensor] | None = None, **arguments: Any
) -> nn.Module:
    """Make a network for one-channel volumes.

    Args:
        architecture: which.
        outputs: number of categories.
        kinetics: pretrained weights, as `cov3d.models.weights` gives them; None for random ones.
        arguments: of its function: `dropout`, where it has one.

    Raises:
        TypeError: the network does not take one of the arguments.
    """
    return REGISTRY[architecture].build(outputs=outputs, kinetics=kinetics, **arguments)
