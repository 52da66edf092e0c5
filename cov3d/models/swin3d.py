"""The Video Swin Transformer, tiny (section 3.3), based on torchvision's `swin3d_t`."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torchvision.models.video import Swin3D_T_Weights, swin3d_t
from torchvision.models.video.swin_transformer import SwinTransformer3d

from cov3d.models.adapt import single_channel
from cov3d.models.class_map import ClassMap, MapSource, linear_map
from cov3d.models.network import Network


def swin(outputs: int = 5, kinetics: Mapping[str, Tensor] | None = None) -> SwinTransformer3d:
    """torchvision's `swin3d_t` with one input channel and a new head, and no dropout.

    It maps float volumes (batch, 1, depth, height, width) from 0 to 1 to logits (batch, outputs). Volumes are
    padded to multiples of the patches (2×4×4) and windows (8×7×7).

    Args:
        outputs: number of categories.
        kinetics: torchvision's Kinetics-400 weights of the network to start from; None for random ones.
    """
    network = swin3d_t(weights=None)
    if kinetics is not None:
        network.load_state_dict(kinetics)
    network.patch_embed.proj = single_channel(network.patch_embed.proj)
    network.head = nn.Linear(network.num_features, outputs)
    nn.init.trunc_normal_(network.head.weight, std=0.02)  # as torchvision starts every linear layer of it
    nn.init.zeros_(network.head.bias)
    return network


def _class_map(model: nn.Module, features: Tensor) -> ClassMap:
    return linear_map(features.permute(0, 4, 1, 2, 3), cast(SwinTransformer3d, model).head)  # channels come last there


# Patches of 2×4×4 voxels, merged in the plane three times.
_MAP = MapSource("norm", _class_map, stride=(2, 32, 32), first=(0.5, 15.5, 15.5))
SWIN = Network(swin, Swin3D_T_Weights.KINETICS400_V1, (SwinTransformerBlock, PatchMerging), map_source=_MAP)
