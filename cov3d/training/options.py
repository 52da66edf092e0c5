"""All options of a training run, with the paper's defaults (sections 3.2 to 3.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cov3d.datasets.folds import FOLDS
from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.dimensions import Choices, Numbers
from cov3d.training.hyper_parameters import (
    AUGMENTATION,
    COMPUTE,
    EXPERIMENT,
    INPUT,
    LOSS,
    OPTIMISATION,
    Bounds,
    check_bounds,
    hyper,
)


class Precision(StrEnum):
    """Arithmetic of the network's forward and backward pass; weights are always float32."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


_DROPOUT = 0.2  # of the paper's best experiments
_NOT_NEGATIVE, _SHARE = Bounds(0), Bounds(0, 1)


@dataclass(frozen=True)
class Compute:
    """Settings of the computation. They change speed and memory, and the result only by rounding."""

    workers: int = hyper(
        0,
        "Processes that load volumes. They do not change the result.",
        COMPUTE,
        shown_default="0 on a CPU; on a GPU its share of the processors, up to 8",
        bounds=Bounds(0),
    )
    validation_batch_size: int | None = hyper(
        None,
        "Scans per batch when validating. It does not change the result.",
        COMPUTE,
        shown_default="the batch size; four times that on a GPU",
        bounds=Bounds(1),
        cli_type=int,
    )
    compile: bool = hyper(
        False, "Compile the network with torch.compile. Takes minutes at the start; steps are faster.", COMPUTE
    )
    channels_last: bool | None = hyper(
        None, "Use the channels-last memory layout.", COMPUTE, shown_default="in half precision"
    )
    gradient_checkpointing: bool = hyper(
        False, "Save memory: recompute activations in the backward pass instead of keeping them.", COMPUTE
    )
    deterministic: bool = hyper(
        True, "Use deterministic algorithms: the same seed gives the same weights. Steps may be slower.", COMPUTE
    )

    def uses_channels_last(self, amp: str | None) -> bool:
        """Whether to use the channels-last layout, given the mixed precision (None for float32)."""
        return amp is not None if self.channels_last is None else self.channels_last

    def batch_to_validate(self, batch_size: int, on_gpu: bool) -> int:
        """Scans per batch when validating, which keeps no activations for a backward pass."""
        return self.validation_batch_size or batch_size * (4 if on_gpu else 1)


@dataclass(frozen=True)
class TrainingOptions:
    """The hyper-parameters of a run.

    To add one, add a field here and use it: command line, checks, search space and configuration follow from the field.
    """

    architecture: Architecture = hyper(Architecture.RESNET, "The network.", search=Choices(tuple(Architecture)))
    size: Size = hyper(Size.MEDIUM, "Input size of the network.", search=Choices((Size.SMALL, Size.MEDIUM, Size.LARGE)))
    fold: int = hyper(
        0,
        "Validation fold. The other folds are for training.",
        INPUT,
        bounds=Bounds(0, FOLDS - 1),
        shown_default="0; in crossval all folds in turn",
    )
    epochs: int = hyper(40, "Passes over the training scans.", OPTIMISATION, bounds=Bounds(1))
    batch_size: int = hyper(2, "Scans per batch, on each GPU.", OPTIMISATION, bounds=Bounds(1))
    accumulate: int = hyper(
        1, "Batches per step of the optimiser, for cards with little memory.", OPTIMISATION, bounds=Bounds(1)
    )
    learning_rate: float = hyper(
        1e-4,
        "Maximum learning rate of the 1cycle schedule.",
        OPTIMISATION,
        bounds=Bounds(0, low_open=True),
        search=Numbers(1e-5, 1e-3, log=True),
    )
    weight_decay: float = hyper(
        1e-5,
        "Weight decay, added to the loss (L2), except for norms and biases.",
        OPTIMISATION,
        bounds=_NOT_NEGATIVE,
    )
    decoupled_decay: bool = hyper(
        False,
        "Apply the weight decay to the weights (AdamW), as the paper's code does, not to the loss.",
        OPTIMISATION,
    )
    gamma: float = hyper(2.0, "γ of the focal loss.", LOSS, bounds=_NOT_NEGATIVE, search=Numbers(0.0, 4.0))
    emd_weight: float = hyper(
        0.2, "λ, weight of the earth mover's distance in the loss.", LOSS, bounds=_SHARE, search=Numbers(0.0, 0.9)
    )
    distances: tuple[float, ...] = hyper(
        (1.0, 1.0, 1.0, 1.0),
        "Distances between neighbouring categories, from non-COVID to mild, moderate, severe and critical.",
        LOSS,
        bounds=_NOT_NEGATIVE,
        shown_default="1 1 1 1",
        cli_type=tuple[float, float, float, float],
    )
    negative_positive_distance: float = hyper(
        1.0, "Distance to non-COVID for scans of unknown severity.", LOSS, bounds=_NOT_NEGATIVE
    )
    dropout: float | None = hyper(
        None,
        "Dropout probability. Not for swin, which has no dropout.",
        bounds=Bounds(0, 1, high_open=True),
        search=Numbers(0.0, 0.6),
        shown_default=str(_DROPOUT),
        cli_type=float,
    )
    reflect: bool = hyper(True, "Reflect scans left to right with probability 0.5.", AUGMENTATION)
    brightness: float = hyper(
        0.04,
        "σ_b, standard deviation of the added brightness.",
        AUGMENTATION,
        bounds=_NOT_NEGATIVE,
        search=Numbers(0.0, 0.1),
    )
    contrast: float = hyper(
        0.04,
        "σ_c, standard deviation of the logarithm of the contrast factor.",
        AUGMENTATION,
        bounds=_NOT_NEGATIVE,
        search=Numbers(0.0, 0.1),
    )
    seed: int = hyper(
        0,
        "Random seed.",
        OPTIMISATION,
        bounds=Bounds(0, 2**32 - 1),
    )
    precision: Precision = hyper(
        Precision.AUTO, "Arithmetic. auto is fp16 on a GPU and fp32 on a CPU, where bf16 is possible but slow.", COMPUTE
    )
    pretrained: bool = hyper(True, "Start from pretrained weights: Kinetics-400, or --from-checkpoint.")
    experiment: int | None = hyper(
        None,
        "Number of one of the paper's experiments. It sets all hyper-parameters and the seed; further options override "
        "it. cov3d experiments lists them.",
        EXPERIMENT,
        shown_default="",
        cli_type=int,
    )

    def for_categories(self, categories: Sequence[str]) -> "TrainingOptions":
        """The same options for a network with these outputs. Distances that are all 1 fit any number of outputs.

        Raises:
            Cov3dError: the number of distances does not fit.
        """
        steps = len(categories) - 1
        if len(self.distances) == steps:
            return self
        if any(step != 1 for step in self.distances):
            raise Cov3dError(
                f"--distances has {len(self.distances)} values, but the categories of this dataset "
                f"({', '.join(categories)}) need {steps}: leave the option out to use 1 for all"
            )
        return replace(self, distances=(1.0,) * steps)

    def __post_init__(self) -> None:
        """Set the default dropout if none is given, and check all values.

        Raises:
            Cov3dError: a value is wrong; the message names the option.
        """
        if not self.architecture.has_dropout and self.dropout is not None:
            raise Cov3dError(
                f"--dropout: {self.architecture} has no dropout; leave the option out, or choose another network"
            )
        if self.architecture.has_dropout and self.dropout is None:
            object.__setattr__(self, "dropout", _DROPOUT)
        check_bounds(self)
