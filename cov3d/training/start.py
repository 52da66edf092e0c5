"""What a run starts from: random weights, torchvision's Kinetics-400 weights, or the network of an earlier run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cov3d.errors import CheckpointError
from cov3d.files import sha256
from cov3d.models import weights
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build
from cov3d.models.transfer import counterparts, map_head
from cov3d.preprocessing.pipeline import settings
from cov3d.training import checkpoint
from cov3d.training.checkpoint import CheckpointInfo


class Origin(StrEnum):
    """Where the first weights come from."""

    RANDOM = "random"
    KINETICS = "kinetics"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Start:
    """The first weights of a run.

    Attributes:
        origin: where they come from.
        state: torchvision's weights or those of a checkpoint, by name; None for random ones.
        file: name of the file they are from, without its folder.
        sha256: of that file.
        info: what the checkpoint says of itself, if they are one's.
    """

    origin: Origin = Origin.RANDOM
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    file: str | None = None
    sha256: str | None = None
    info: CheckpointInfo | None = None

    def describe(self) -> dict[str, str]:
        """What a run's files say of it."""
        said = {"kind": self.origin.value, "file": self.file, "sha256": self.sha256}
        return {name: value for name, value in said.items() if value is not None}

    def check(self, architecture: Architecture, categories: Sequence[str]) -> None:
        """Make sure that `network` will find what it needs.

        Raises:
            CheckpointError: the checkpoint is of another network, or its categories can't go over into these.
        """
        self.check_architecture(architecture)
        if self.info is not None:
            counterparts(self.info.categories, categories)

    def check_architecture(self, architecture: Architecture) -> None:
        """Make sure that a checkpoint is of the network that is to be trained.

        Raises:
            CheckpointError: it is of another.
        """
        if self.info is not None and self.info.architecture != architecture:
            raise CheckpointError(
                f"{self.file} holds the network {self.info.architecture}, but {architecture} is to be trained: give "
                f"--architecture {self.info.architecture}, or a checkpoint of {architecture}"
            )

    def network(self, architecture: Architecture, categories: Sequence[str], arguments: Mapping[str, Any]) -> nn.Module:
        """A network with these weights, for volumes of any size; what they do not give is drawn at random.

        Args:
            architecture: which.
            categories: of its outputs.
            arguments: of the network, beside its outputs.

        Raises:
            CheckpointError: as `check` does.
        """
        self.check(architecture, categories)
        if self.info is None or self.state is None:
            return build(architecture, outputs=len(categories), kinetics=self.state, **arguments)
        weight, bias = (f"{REGISTRY[architecture].head}.{name}" for name in ("weight", "bias"))
        head = map_head(self.state[weight], self.state[bias], self.info.categories, categories)
        model = build(architecture, outputs=len(categories), **arguments)
        model.load_state_dict({**self.state, weight: head[0], bias: head[1]})
        return model


RANDOM = Start()


def from_kinetics(architecture: Architecture, file: Path) -> Start:
    """Start from a file of torchvision's Kinetics-400 weights.

    Raises:
        WeightsError: the file is missing, is no such file, or is of another network.
    """
    return Start(Origin.KINETICS, weights.load(architecture, file), file.name, sha256(file))


def from_checkpoint(file: Path) -> Start:
    """Start from the network of a checkpoint that `cov3d train` wrote.

    Raises:
        CheckpointError: the file is missing, not a checkpoint of ours, or damaged.
    """
    model, info = checkpoint.load(file)
    return Start(Origin.CHECKPOINT, model.state_dict(), file.name, sha256(file), info)


def otherwise_preprocessed(info: CheckpointInfo) -> bool:
    """Whether the volumes that a checkpoint was trained on were made with other settings than this version's."""
    return info.preprocessing.get("hash") != settings(info.size)["hash"]
