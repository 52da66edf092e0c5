"""Initial weights of a run: random, torchvision's Kinetics-400 weights, or the network of an earlier run."""

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


class StartKind(StrEnum):
    """The kind of initial weights."""

    RANDOM = "random"
    KINETICS = "kinetics"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Start:
    """The initial weights of a run.

    Attributes:
        kind: of the weights.
        state: the weights by name, from torchvision or a checkpoint; None for random weights.
        file: name of their file, without its folder.
        sha256: of the file.
        info: metadata of the checkpoint, if they come from one.
    """

    kind: StartKind = StartKind.RANDOM
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    file: str | None = None
    sha256: str | None = None
    info: CheckpointInfo | None = None

    def describe(self) -> dict[str, str]:
        """The description for the files of a run."""
        values = {"kind": self.kind.value, "file": self.file, "sha256": self.sha256}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, architecture: Architecture, categories: Sequence[str]) -> None:
        """Check that `network` can use the weights.

        Raises:
            CheckpointError: they belong to another network, or their categories can't be mapped to these.
        """
        self.check_architecture(architecture)
        if self.info is not None:
            counterparts(self.info.categories, categories)

    def check_architecture(self, architecture: Architecture) -> None:
        """Check that a checkpoint has the network to be trained.

        Raises:
            CheckpointError: it has another network.
        """
        if self.info is not None and self.info.architecture != architecture:
            raise CheckpointError(
                f"{self.file} has the network {self.info.architecture}, but the run trains {architecture}: give "
                f"--architecture {self.info.architecture}, or a checkpoint of {architecture}"
            )

    def network(self, architecture: Architecture, categories: Sequence[str], arguments: Mapping[str, Any]) -> nn.Module:
        """A network with these weights, for volumes of any size. Missing weights are random.

        Args:
            architecture: of the network.
            categories: of the outputs.
            arguments: of the network, except the number of outputs.

        Raises:
            CheckpointError: as in `check`.
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
        WeightsError: the file is missing, has other content, or belongs to another network.
    """
    return Start(StartKind.KINETICS, weights.load(architecture, file), file.name, sha256(file))


def from_checkpoint(file: Path) -> Start:
    """Start from the network of a checkpoint that `cov3d train` wrote.

    Raises:
        CheckpointError: the file is missing, not a cov3d checkpoint, or damaged.
    """
    model, info = checkpoint.load(file)
    return Start(StartKind.CHECKPOINT, model.state_dict(), file.name, sha256(file), info)


def differs_in_preprocessing(info: CheckpointInfo) -> bool:
    """Whether a checkpoint was trained on volumes with other preprocessing settings than this version's."""
    return info.preprocessing.get("hash") != settings(info.size)["hash"]
