"""Class maps: how much each cell of a network's last features adds to each logit.

For networks that average their last features over all cells and continue with linear layers, the map has a closed form
and needs no backward pass: the cells and a constant add up to the logit. With a ReLU between the linear layers this
holds too, because for a given scan the ReLU is a fixed mask.

    linear:  z = W mean(A) + b                      cell i: W a_i / n
    ReLU:    z = W m (V mean(A) + c) + b            cell i: W m V a_i / n,  constant: W m c + b

A: features, n: number of cells, m: mask of the units above 0 in V mean(A) + c.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ClassMap:
    """The parts of the logits of a batch.

    Attributes:
        cells: float32, (batch, outputs, depth, height, width) of the cells: what each cell adds to each logit.
        constant: float32, (batch, outputs): what no cell adds.
    """

    cells: Tensor
    constant: Tensor

    @property
    def logits(self) -> Tensor:
        """The sum, (batch, outputs)."""
        return self.cells.sum(dim=(2, 3, 4)) + self.constant


@dataclass(frozen=True)
class MapSource:
    """Where the class map of a network comes from.

    Attributes:
        layer: name of the module that returns the last features.
        compute: network and features of a batch → class map.
        stride: input voxels between the centres of neighbouring cells, along (depth, height, width).
        first: index of the input voxel at the centre of the first cell, along the same axes.
    """

    layer: str
    compute: Callable[[nn.Module, Tensor], ClassMap]
    stride: tuple[int, int, int]
    first: tuple[float, float, float] = (0.0, 0.0, 0.0)


def linear_map(features: Tensor, head: nn.Linear) -> ClassMap:
    """The class map of a mean over cells, then a linear layer.

    Args:
        features: (batch, channels, depth, height, width).
        head: channels → outputs.
    """
    n_cells = features[0, 0].numel()
    features = features.float()
    cells = torch.einsum("oc,bcdhw->bodhw", head.weight.float(), features) / n_cells
    return ClassMap(cells, _bias(head).expand(len(features), -1))


def relu_map(features: Tensor, hidden: nn.Linear, head: nn.Linear) -> ClassMap:
    """The class map of a mean over cells, then two linear layers with a ReLU between them.

    Args:
        features: (batch, channels, depth, height, width).
        hidden: channels → units.
        head: units → outputs.
    """
    features = features.float()
    units = features.mean(dim=(2, 3, 4)) @ hidden.weight.float().T + _bias(hidden)
    masked = head.weight.float() * (units > 0)[:, None]  # (batch, outputs, units)
    n_cells = features[0, 0].numel()
    cells = torch.einsum("boc,bcdhw->bodhw", masked @ hidden.weight.float(), features) / n_cells
    return ClassMap(cells, masked @ _bias(hidden) + _bias(head))


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.float()
