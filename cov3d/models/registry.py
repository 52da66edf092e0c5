"""Name → network. `names` has the names and the locations of the entries, which are checked here.

To add a backbone, write a file with a function that builds it and its entry, and add a line to `names`.
"""

from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

from cov3d.models.names import Architecture
from cov3d.models.network import Network


def registered(architecture: Architecture) -> Network:
    """The entry of a network, checked against the contract of `Network`.

    Raises:
        TypeError: there is no entry, or its function has the wrong parameters.
    """
    module, _, attribute = architecture.entry.partition(":")
    entry = getattr(import_module(module), attribute, None)
    if not isinstance(entry, Network):
        raise TypeError(f"{architecture}: {architecture.entry} is not a Network")
    parameters = signature(entry.build).parameters
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    needed = ["outputs", *["dropout"] * architecture.has_dropout, *["kinetics"] * (entry.weights is not None)]
    for name in needed:
        if name not in parameters and not takes_all:
            raise TypeError(f"{architecture}: its function does not take {name}, {_WHY[name]}")
    if not architecture.has_dropout and "dropout" in parameters:
        raise TypeError(f"{architecture}: its function takes dropout, but its line in names.py ends in False")
    return entry


_WHY = {
    "outputs": "the number of categories",
    "dropout": "and its line in names.py does not end in False",
    "kinetics": "but its entry has weights",
}


REGISTRY = {architecture: registered(architecture) for architecture in Architecture}


def build(
    architecture: Architecture, *, outputs: int, kinetics: Mapping[str, Tensor] | None = None, **arguments: Any
) -> nn.Module:
    """Build a network for one-channel volumes.

    Args:
        architecture: architecture of the network.
        outputs: number of categories.
        kinetics: pretrained weights from `cov3d.models.weights`; None for random ones.
        arguments: further arguments of its function: `dropout`, if it has dropout.

    Raises:
        TypeError: the network does not take one of the arguments, or a layer that its entry names is missing or wrong.
    """
    entry = REGISTRY[architecture]
    weights = {} if kinetics is None else {"kinetics": kinetics}
    model = entry.build(outputs=outputs, **weights, **arguments)
    layers = dict(model.named_modules())
    head = layers.get(entry.head)
    if not isinstance(head, nn.Linear) or head.bias is None or head.out_features != outputs:
        raise TypeError(
            f"{architecture}: {entry.head} is not a Linear layer with a bias and {outputs} outputs, as the head of its "
            "entry must be"
        )
    if entry.map_source is not None and entry.map_source.layer not in layers:
        raise TypeError(f"{architecture}: it has no layer {entry.map_source.layer}, which its map_source names")
    return model
