"""The entry of a network: all that the other rooms need to know of it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torchvision.models import WeightsEnum

from cov3d.models.class_map import MapSource


@dataclass(frozen=True)
class Network:
    """How a network is made, what it can start from, and which of its modules have a part to play.

    Attributes:
        build: makes it, from the keywords `outputs` (number of categories), `dropout` where `Architecture` says so, and
            `kinetics` (pretrained weights by name, or None) where there are `weights`. It maps float volumes (batch, 1,
            depth, height, width) from 0 to 1 to logits (batch, outputs).
        weights: torchvision's weights that it can start from; None where there are none.
        blocks: the classes of the modules whose activations gradient checkpointing computes twice instead of keeping
            them. Each takes one tensor. Without any, `--gradient-checkpointing` is refused.
        head: the name of its last layer, a `Linear` with a bias: transfer from other categories changes that layer.
        map_source: how its class map is computed; None where there is no closed form. Without it, `--explain` gives
            the zones only.
    """

    build: Callable[..., nn.Module]
    weights: WeightsEnum | None = None
    blocks: tuple[type[nn.Module], ...] = ()
    head: str = "head"
    map_source: MapSource | None = None
