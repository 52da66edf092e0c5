"""The entry of a network: how to build it, and its properties."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torchvision.models import WeightsEnum

from cov3d.models.class_map import MapSource


@dataclass(frozen=True)
class Network:
    """How to build a network, its pretrained weights, and the names of some of its modules.

    Attributes:
        build: builds the network from the keywords `outputs` (number of categories), `dropout` if its `Architecture`
            has dropout, and `kinetics` (pretrained weights by name, or None) if it has `weights`. It maps float volumes
            (batch, 1, depth, height, width) from 0 to 1 to logits (batch, outputs).
        weights: torchvision's weights that it can start from; None if there are none.
        blocks: classes of modules whose activations gradient checkpointing recomputes. Each takes one tensor. If empty,
            `--gradient-checkpointing` is refused.
        head: name of the last layer, a `Linear` with a bias. Transfer from other categories changes this layer.
        map_source: how its class map is computed; None if there is no closed form. Without it, `--explain` gives only
            the zones.
    """

    build: Callable[..., nn.Module]
    weights: WeightsEnum | None = None
    blocks: tuple[type[nn.Module], ...] = ()
    head: str = "head"
    map_source: MapSource | None = None
