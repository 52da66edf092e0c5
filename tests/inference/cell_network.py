"""A network whose class map is known: it sees only what is brighter than tissue, which speaks for COVID-19."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cov3d.inference.networks import Member
from cov3d.models.class_map import ClassMap, MapSource, linear_map
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.sizes import Size
from cov3d.training.checkpoint import CheckpointInfo
from tests.training.test_checkpoint import INFO

CELL = 8


class AboveTissue(nn.Module):
    def forward(self, volumes: Tensor) -> Tensor:
        return torch.relu(volumes - 0.85) * 100


class CellNetwork(nn.Module):
    """The mean of each cell of 8 × 8 × 8 voxels, the mean over cells, and a linear layer."""

    def __init__(self, outputs: int = 5, dropout: float = 0.0, kinetics: object = None) -> None:
        super().__init__()
        self.cells = nn.Sequential(AboveTissue(), nn.AvgPool3d(CELL))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(1, outputs)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-4.0], [3.0], [2.0], [1.0], [0.5]])[:outputs])
            self.head.bias.copy_(torch.tensor([1.0, -0.4, -0.3, -0.2, -0.1])[:outputs])

    def forward(self, volumes: Tensor) -> Tensor:
        return self.head(self.dropout(self.cells(volumes).mean(dim=(2, 3, 4))))


def class_map(network: nn.Module, features: Tensor) -> ClassMap:
    return linear_map(features, network.get_submodule("head"))  # type: ignore[arg-type]


SOURCE = MapSource("cells", class_map, (CELL,) * 3, ((CELL - 1) / 2,) * 3)


def cell_info(**changes: object) -> CheckpointInfo:
    made = replace(INFO, size=Size.TINY, preprocessing=settings(Size.TINY), model={}, lung_share=(0.0, 1.0))
    return replace(made, **changes)  # type: ignore[arg-type]


def cell_member(**changes: object) -> Member:
    return Member(CellNetwork().eval(), cell_info(**changes))


def use_cell_network(patch: pytest.MonkeyPatch) -> None:
    """The network in place of every other."""
    for architecture in Architecture:
        entry = replace(REGISTRY[architecture], build=CellNetwork, map_source=SOURCE)
        patch.setitem(REGISTRY, architecture, entry)
