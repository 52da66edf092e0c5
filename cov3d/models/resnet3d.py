"""The 3-D ResNet-18 of Table 4, on torchvision's `r3d_18`."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.video import R3D_18_Weights, r3d_18

from cov3d.models.adapt import single_channel

WEIGHTS = R3D_18_Weights.KINETICS400_V1


class ResNet3d(nn.Module):
    """torchvision's `r3d_18` with one input channel, dropout after each of its four layers and a new head.

    The head is the paper's: global average pooling, a penultimate layer of 512 dimensions with dropout and ReLU,
    and a final layer of `outputs`. Maps float volumes (batch, 1, depth, height, width) from 0 to 1 to logits
    (batch, outputs).

    Args:
        outputs: number of categories.
        dropout: probability that an activation is dropped, from 0 to 1.
        kinetics: torchvision's Kinetics-400 weights of `r3d_18` to start from; None for random ones.
    """

    def __init__(self, outputs: int = 5, dropout: float = 0.2, kinetics: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        video = r3d_18(weights=None)
        if kinetics is not None:
            video.load_state_dict(kinetics)
        features = video.fc.in_features
        self.stem = video.stem
        self.stem[0] = single_channel(video.stem[0])
        self.layer1 = nn.Sequential(video.layer1, nn.Dropout(dropout))
        self.layer2 = nn.Sequential(video.layer2, nn.Dropout(dropout))
        self.layer3 = nn.Sequential(video.layer3, nn.Dropout(dropout))
        self.layer4 = nn.Sequential(video.layer4, nn.Dropout(dropout))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.penultimate = nn.Sequential(nn.Linear(features, features), nn.Dropout(dropout), nn.ReLU())
        self.head = nn.Linear(features, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits of a batch of volumes."""
        features = self.stem(volumes)
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.head(self.penultimate(self.pool(features)))
