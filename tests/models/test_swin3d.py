"""The Video Swin Transformer against torchvision's own."""

import torch
from torch import nn
from torchvision.models.video import Swin3D_T_Weights, swin3d_t
from torchvision.ops import StochasticDepth

from cov3d.models.swin3d import swin


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_number_of_parameters_follows_from_torchvisions() -> None:
    published = Swin3D_T_Weights.KINETICS400_V1.meta["num_params"]
    assert count(swin3d_t(weights=None)) == published
    two_channels_of_patches = 2 * 96 * 2 * 4 * 4
    kinetics_head, head = 768 * 400 + 400, 768 * 5 + 5
    assert count(swin()) == published - two_channels_of_patches - kinetics_head + head


def test_with_published_weights_the_features_are_torchvisions_on_grey_video() -> None:
    torch.manual_seed(3)
    video = swin3d_t(weights=None)
    nn.init.normal_(video.patch_embed.proj.bias)  # torchvision's starts small: a lost bias must show
    ours = swin(kinetics=video.state_dict())
    assert torch.equal(ours.patch_embed.proj.bias, video.patch_embed.proj.bias)
    video.head, ours.head = nn.Identity(), nn.Identity()
    grey = torch.rand(1, 1, 18, 60, 44)
    with torch.inference_mode():
        wanted = video.eval()(grey.expand(-1, 3, -1, -1, -1))
        found = ours.eval()(grey)
    assert found.shape == (1, 768)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_it_is_torchvisions_network_but_for_its_first_and_its_last_layer() -> None:
    ours, theirs = swin().state_dict(), swin3d_t(weights=None).state_dict()
    assert ours.keys() == theirs.keys()
    differing = {name for name in ours if ours[name].shape != theirs[name].shape}
    assert differing == {"patch_embed.proj.weight", "head.weight", "head.bias"}
    assert ours["patch_embed.proj.weight"].shape == (96, 1, 2, 4, 4)


def test_nothing_is_dropped_but_whole_blocks_at_random() -> None:
    model = swin()
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.0}
    depths = [module.p for module in model.modules() if isinstance(module, StochasticDepth)]
    assert len(depths) == 2 + 2 + 6 + 2
    assert depths == sorted(depths)
    assert (depths[0], depths[-1]) == (0.0, 0.1)
