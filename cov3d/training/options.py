"""Every option of a training run, with the paper's defaults (sections 3.2 to 3.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cov3d import experiments
from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.preprocess.sizes import Size


class Precision(StrEnum):
    """Arithmetic of the network's forward and backward pass; weights are always float32."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


_DROPOUT = 0.2  # of the paper's best experiments


@dataclass(frozen=True)
class Compute:
    """How a run is computed: what changes its speed and its memory, and its result by no more than rounding.

    Attributes:
        workers: processes that load volumes.
        compile: compile the network with `torch.compile`.
        channels_last: keep channels innermost in memory; None for where it pays, in half precision on a GPU.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        deterministic: choose algorithms that give the same result every time.
    """

    workers: int = 0
    compile: bool = False
    channels_last: bool | None = None
    gradient_checkpointing: bool = False
    deterministic: bool = True

    def uses_channels_last(self, amp: str | None) -> bool:
        """Whether channels are innermost, given the mixed precision (None for float32)."""
        return amp is not None if self.channels_last is None else self.channels_last


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is made of, its data aside.

    Attributes:
        architecture: the network.
        size: of its input.
        fold: the fold held out for validation.
        epochs: passes over the other folds.
        batch_size: scans to a batch.
        accumulate: batches to a step, for cards that hold few scans at once.
        learning_rate: maximum of the 1cycle schedule.
        weight_decay: of all weights but those of batch norm and biases.
        decoupled_decay: shrink the weights themselves (AdamW, as the paper's own code does) instead of adding the
            decay to the loss (L2, as the paper says).
        gamma: γ of the focal loss.
        emd_weight: λ, the share of the earth mover's distance in the loss.
        distances: between neighbouring categories, along the axis of severity.
        negative_positive_distance: for scans of unknown severity.
        dropout: probability that an activation is dropped; None takes the network's own: 0.2, and still None for
            Swin, which has no dropout.
        reflect: reflect every other scan, left to right.
        brightness: σ_b of equation 8.
        contrast: σ_c of equation 8.
        seed: of weights, order, dropout and augmentation.
        precision: arithmetic.
        pretrained: whether the network starts from pretrained weights, Kinetics-400's or those of a checkpoint.
        experiment: number of the paper's experiment that the other values come from, if it is one.
    """

    architecture: Architecture = Architecture.RESNET
    size: Size = Size.MEDIUM
    fold: int = 0
    epochs: int = 40
    batch_size: int = 2
    accumulate: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    decoupled_decay: bool = False
    gamma: float = 2.0
    emd_weight: float = 0.2
    distances: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    negative_positive_distance: float = 1.0
    dropout: float | None = None
    reflect: bool = True
    brightness: float = 0.04
    contrast: float = 0.04
    seed: int = 0
    precision: Precision = Precision.AUTO
    pretrained: bool = True
    experiment: int | None = None

    @classmethod
    def of_experiment(cls, number: int | None, **given: Any) -> "TrainingOptions":
        """The options of one of the paper's experiments; what is `given` wins, and None stands for the defaults.

        Raises:
            Cov3dError: there is no such experiment, or a value can't be trained with.
        """
        if number is None:
            return cls(**given)
        row = experiments.find(number).hyper_parameters()
        if not given.get("architecture", row["architecture"]).has_dropout:
            row.pop("dropout", None)
        return cls(**{**row, **given, "experiment": number})

    def for_categories(self, categories: Sequence[str]) -> "TrainingOptions":
        """The same options for a network of these outputs: distances of one fit any number of them.

        Raises:
            Cov3dError: there are other distances, and too many or too few.
        """
        steps = len(categories) - 1
        if len(self.distances) == steps:
            return self
        if any(step != 1 for step in self.distances):
            raise Cov3dError(
                f"--distances gives {len(self.distances)} steps, but between the categories of this dataset "
                f"({', '.join(categories)}) there are {steps}: leave it out, and each is 1"
            )
        return replace(self, distances=(1.0,) * steps)

    def __post_init__(self) -> None:
        """Fill in the network's own dropout where none is given, and refuse a value that can't be trained with.

        Raises:
            Cov3dError: the sentence names the option.
        """
        if not self.architecture.has_dropout and self.dropout is not None:
            raise Cov3dError(f"--dropout: {self.architecture} has none; leave the option out, or take another network")
        if self.architecture.has_dropout and self.dropout is None:
            object.__setattr__(self, "dropout", _DROPOUT)
        checks = {
            "--epochs must be 1 or more": self.epochs >= 1,
            "--batch-size must be 1 or more": self.batch_size >= 1,
            "--accumulate must be 1 or more": self.accumulate >= 1,
            "--learning-rate must be above 0": 0 < self.learning_rate < float("inf"),
            "--weight-decay must be 0 or more": 0 <= self.weight_decay < float("inf"),
            "--gamma must be 0 or more": 0 <= self.gamma < float("inf"),
            "--emd-weight must be from 0 to 1": 0 <= self.emd_weight <= 1,
            "--distances must be 0 or more": all(0 <= step < float("inf") for step in self.distances),
            "--negative-positive-distance must be 0 or more": 0 <= self.negative_positive_distance < float("inf"),
            "--dropout must be from 0 to below 1": self.dropout is None or 0 <= self.dropout < 1,
            "--seed must be from 0 to 4294967295": 0 <= self.seed < 2**32,
            "--brightness must be 0 or more": 0 <= self.brightness < float("inf"),
            "--contrast must be 0 or more": 0 <= self.contrast < float("inf"),
        }
        for sentence, holds in checks.items():
            if not holds:
                raise Cov3dError(sentence)
