"""The 3-D ResNets against Table 4 and torchvision's own."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from cov3d.models.adapt import single_channel
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build
from cov3d.models.resnet3d import ResNet3d
from cov3d.preprocessing.sizes import Size

KIN: dict[Architecture, Callable[..., nn.Module]] = {
    Architecture.RESNET: r3d_18,
    Architecture.R2PLUS1D: r2plus1d_18,
    Architecture.MC3: mc3_18,
}


def test_the_stem_is_table_4s_with_one_channel() -> None:
    conv = ResNet3d().stem[0]
    assert (conv.in_channels, conv.out_channels) == (1, 64)
    assert (conv.kernel_size, conv.stride) == ((3, 7, 7), (1, 2, 2))


def test_the_layers_have_table_4s_shapes() -> None:
    depth, height, width = Size.SMALL.shape
    model = ResNet3d().to("meta")
    features = model.stem(torch.empty(1, 1, depth, height, width, device="meta"))
    shapes = [tuple(features.shape[1:])]
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        features = layer(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [
        (64, depth, height // 2, width // 2),
        (64, depth, height // 2, width // 2),
        (128, depth // 2, height // 4, width // 4),
        (256, depth // 4, height // 8, width // 8),
        (512, depth // 8, height // 16, width // 16),
    ]
    assert model.penultimate(model.pool(features)).shape == (1, 512)


@pytest.mark.parametrize("architecture", KIN)
def test_dropout_stands_after_each_layer_and_at_the_penultimate_one(architecture: Architecture) -> None:
    model = build(architecture, outputs=5, dropout=0.35)
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        assert isinstance(layer[-1], nn.Dropout)
    kinds = [type(module) for module in model.penultimate]
    assert kinds == [nn.Linear, nn.Dropout, nn.ReLU]
    dropouts = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.35] * 5


@pytest.mark.parametrize(
    ("architecture", "first_layer"),
    [
        (Architecture.RESNET, 64 * 3 * 7 * 7),
        (Architecture.R2PLUS1D, 45 * 1 * 7 * 7),
        (Architecture.MC3, 64 * 3 * 7 * 7),
    ],
)
def test_the_number_of_parameters_follows_from_torchvisions(architecture: Architecture, first_layer: int) -> None:
    kinetics_head, penultimate, head = 512 * 400 + 400, 512 * 512 + 512, 512 * 5 + 5
    published = REGISTRY[architecture].weights.meta["num_params"]
    assert count(KIN[architecture](weights=None)) == published
    assert count(build(architecture, outputs=5)) == published - 2 * first_layer - kinetics_head + penultimate + head


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("architecture", KIN)
def test_with_published_weights_the_features_are_torchvisions_on_grey_video(architecture: Architecture) -> None:
    torch.manual_seed(3)
    video = KIN[architecture](weights=None)
    ours = build(architecture, outputs=5, kinetics=video.state_dict())
    video.fc = nn.Identity()
    grey = torch.rand(1, 1, 8, 32, 32)
    with torch.inference_mode():
        wanted = video.eval()(grey.expand(-1, 3, -1, -1, -1))
        ours.eval()
        found = ours.pool(ours.layer4(ours.layer3(ours.layer2(ours.layer1(ours.stem(grey))))))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_bias_is_kept_when_channels_are_summed() -> None:
    conv = nn.Conv3d(3, 4, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=True)
    grey = torch.rand(1, 1, 2, 9, 9)
    assert torch.allclose(single_channel(conv)(grey), conv(grey.expand(-1, 3, -1, -1, -1)), atol=1e-5)
