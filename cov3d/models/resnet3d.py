"""The 3-D ResNet-18 of Table 4, based on torchvision's `r3d_18`, and two variants with factored convolutions."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.video import (
    MC3_18_Weights,
    R2Plus1D_18_Weights,
    R3D_18_Weights,
    VideoResNet,
    mc3_18,
    r2plus1d_18,
    r3d_18,
)
from torchvision.models.video.resnet import BasicBlock, BasicStem, R2Plus1dStem

from cov3d.models.adapt import single_channel
from cov3d.models.class_map import ClassMap, MapSource, relu_map
from cov3d.models.network import Network
from cov3d.models.slabs import Stage, depth_stride, in_slabs, slices_that_fit

_STEM_CHANNELS = 64
"""Of the stem and the first layer, at half the height and width."""


class ResNet3d(nn.Module):
    """A video ResNet of torchvision with one input channel, dropout after each of its four layers and a new head.

    The head is the paper's: global average pooling, a penultimate layer of 512 dimensions with dropout and ReLU,
    and a final layer of `outputs`. Maps float volumes (batch, 1, depth, height, width) from 0 to 1 to logits
    (batch, outputs).

    Args:
        outputs: number of categories.
        dropout: probability that an activation is dropped, from 0 to 1.
        kinetics: torchvision's Kinetics-400 weights of the network to start from; None for random ones.
        video: torchvision's function that builds it.
    """

    def __init__(
        self,
        outputs: int = 5,
        dropout: float = 0.2,
        kinetics: Mapping[str, Tensor] | None = None,
        video: Callable[..., VideoResNet] = r3d_18,
    ) -> None:
        super().__init__()
        network = video(weights=None)
        if kinetics is not None:
            network.load_state_dict(kinetics)
        features = network.fc.in_features
        self.stem = network.stem
        self.stem[0] = single_channel(network.stem[0])
        self.layer1 = nn.Sequential(network.layer1, nn.Dropout(dropout))
        self.layer2 = nn.Sequential(network.layer2, nn.Dropout(dropout))
        self.layer3 = nn.Sequential(network.layer3, nn.Dropout(dropout))
        self.layer4 = nn.Sequential(network.layer4, nn.Dropout(dropout))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.penultimate = nn.Sequential(nn.Linear(features, features), nn.Dropout(dropout), nn.ReLU())
        self.head = nn.Linear(features, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits of a batch of volumes."""
        features = self.layer4(self.layer3(self._first_layers(volumes)))
        return self.head(self.penultimate(self.pool(features)))

    def _first_layers(self, volumes: Tensor) -> Tensor:
        """The layers with most of the activations. A CPU that only predicts computes them in slabs."""
        slices = slices_that_fit(volumes, channels=_STEM_CHANNELS, plane_stride=2)
        if slices is None or self.layer1[1].training:  # dropout would differ between slabs
            return self.layer2(self.layer1(self.stem(volumes)))
        return torch.cat([self._first_in_slabs(volume[None], slices) for volume in volumes])

    def _first_in_slabs(self, volume: Tensor, slices: int) -> Tensor:
        """The same for one volume. A block sees two slices at each side, or three with a stride."""
        blocks = [*cast(nn.Sequential, self.layer1[0]), *cast(nn.Sequential, self.layer2[0])]
        strides = [depth_stride(block) for block in blocks]
        stages = [Stage(block, halo=1 + stride, stride=stride) for block, stride in zip(blocks, strides, strict=True)]
        return in_slabs([Stage(self.stem, halo=1), *stages], volume, slices)


def resnet(outputs: int = 5, dropout: float = 0.2, kinetics: Mapping[str, Tensor] | None = None) -> ResNet3d:
    """The network of Table 4."""
    return ResNet3d(outputs, dropout, kinetics, r3d_18)


def r2plus1d(outputs: int = 5, dropout: float = 0.2, kinetics: Mapping[str, Tensor] | None = None) -> ResNet3d:
    """R(2+1)D-18: each convolution is split into one within slices and one across slices."""
    return ResNet3d(outputs, dropout, kinetics, r2plus1d_18)


def mc3(outputs: int = 5, dropout: float = 0.2, kinetics: Mapping[str, Tensor] | None = None) -> ResNet3d:
    """MC3-18: convolutions across slices only in the stem and the first layer, without stride across slices."""
    return ResNet3d(outputs, dropout, kinetics, mc3_18)


def _class_map(model: nn.Module, features: Tensor) -> ClassMap:
    network = cast(ResNet3d, model)
    return relu_map(features, cast(nn.Linear, network.penultimate[0]), network.head)


_BLOCKS = (BasicStem, R2Plus1dStem, BasicBlock)
_MAP = MapSource("layer4", _class_map, stride=(8, 16, 16))
_MAP_MC3 = MapSource("layer4", _class_map, stride=(1, 16, 16))
RESNET = Network(resnet, R3D_18_Weights.KINETICS400_V1, _BLOCKS, map_source=_MAP)
R2PLUS1D = Network(r2plus1d, R2Plus1D_18_Weights.KINETICS400_V1, _BLOCKS, map_source=_MAP)
MC3 = Network(mc3, MC3_18_Weights.KINETICS400_V1, _BLOCKS, map_source=_MAP_MC3)
