"""Evidence maps: where in the crop the networks found what speaks for a prediction.

A class map says how much each cell adds to each logit (see `models.class_map`). A prediction compares logits:

    presence   z_covid − z_0  with  z_covid = Σ q_k z_k, q_k = softmax(z_1, z_2, …)_k
    severity   z_s − Σ r_k z_k,  r_k: softmax of the logits of the other severities

Both are sums over cells plus a constant, with the weights q or r fixed. The log-odds of presence are
logsumexp(z_1, z_2, …) − z_0 = (z_covid − z_0) + H(q); the entropy H(q) belongs to no cell.

A map's value is a density: the mean of the map over the crop is what the cells add to the difference. So maps of
networks with other cells, and of the reflected scan, can be averaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cov3d.errors import Cov3dError
from cov3d.models.class_map import ClassMap, MapSource
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY
from cov3d.training.augment import LEFT_RIGHT

TOLERANCE = 1e-4
"""Largest difference between a logit and the sum of its cells and constant, relative to logits above 1."""


class MapError(Cov3dError):
    """A class map that does not add up to the logit: the `map_source` of the network's entry is wrong."""


def map_source(architecture: Architecture) -> MapSource | None:
    """How the class map of a network is computed; None where it has no closed form."""
    return REGISTRY[architecture].map_source


@contextmanager
def captured(model: nn.Module, source: MapSource) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The last features and the logits of each forward pass in the block, in order."""
    passes: list[tuple[Tensor, Tensor]] = []
    features: list[Tensor] = []
    hooks = (
        model.get_submodule(source.layer).register_forward_hook(lambda module, given, found: features.append(found)),
        model.register_forward_hook(lambda module, given, found: passes.append((features.pop(), found))),
    )
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def checked_map(
    model: nn.Module, source: MapSource, features: Tensor, logits: Tensor, network: str = "network"
) -> ClassMap:
    """The class map of a batch; `network` is its name for the error.

    Raises:
        MapError: its cells and constant do not add up to the logits.
    """
    found = source.compute(model, features)
    off = ((found.logits - logits.float()).abs() / logits.float().abs().clamp(min=1)).max().item()
    if not off <= TOLERANCE:
        raise MapError(
            f"the class map of {network} differs from the logits by {off:.2g}, so it explains nothing: correct the "
            "map_source of its entry, or predict without --explain"
        )
    return found


@dataclass(frozen=True)
class Contrast:
    """A difference of logits that a map explains.

    Attributes:
        weights: of the logits, (outputs,).
    """

    weights: Tensor

    @classmethod
    def presence(cls, logits: Tensor) -> "Contrast":
        """COVID against non-COVID, for the logits (outputs,) of one scan."""
        return cls(torch.cat([-torch.ones_like(logits[:1]), logits[1:].softmax(dim=0)]))

    @classmethod
    def severity(cls, logits: Tensor, severity: int) -> "Contrast":
        """A severity (the index of its category) against the other severities."""
        others = logits.clone()
        others[[0, severity]] = -torch.inf
        weights = -others.softmax(dim=0)
        weights[severity] = 1.0
        return cls(weights)


@dataclass(frozen=True)
class View:
    """A forward pass of a scan or of its reflection.

    Attributes:
        logits: (outputs,).
        map: class map of a batch of one.
        source: where the map comes from.
        shape: of the network's input.
        reflected: whether left and right were exchanged.
    """

    logits: Tensor
    map: ClassMap
    source: MapSource
    shape: tuple[int, int, int]
    reflected: bool

    def density(self, contrast: Contrast, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """The map of a contrast, interpolated to a grid of `shape` over the same crop; not reflected."""
        weights = contrast.weights.to(self.map.cells.dtype)
        cells = torch.einsum("o,odhw->dhw", weights, self.map.cells[0])
        density = cells.cpu().numpy() * cells.numel()
        for axis, size in enumerate(shape):
            centre = (np.arange(size) + 0.5) * self.shape[axis] / size - 0.5
            place = (centre - self.source.first[axis]) / self.source.stride[axis]
            if self.reflected and axis == density.ndim + LEFT_RIGHT:
                place = place[::-1]  # the reflected scan's voxel at this place
            density = interpolated(density, place, axis)
        return density


def interpolated(values: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Linear interpolation along an axis; beyond the first and last value, these continue."""
    places = np.clip(places, 0, values.shape[axis] - 1)
    low = np.minimum(places.astype(np.intp), values.shape[axis] - 1)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (places - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(values.ndim)])
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share


def mean_density(
    views: Sequence[View], contrasts: Sequence[Contrast], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """The mean map of several views, float32, of `shape`."""
    total = np.zeros(shape, dtype=np.float32)
    for view, contrast in zip(views, contrasts, strict=True):
        total += view.density(contrast, shape)
    return total / np.float32(len(views))
