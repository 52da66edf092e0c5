"""Every option of a training run, with the paper's defaults (sections 3.2 to 3.6)."""

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
    """How a run is computed: what changes its speed and its memory, and its result by no more than rounding."""

    workers: int = hyper(
        0,
        "Processes that load volumes; the result does not depend on them.",
        COMPUTE,
        shown_default="0 on a CPU; on a GPU its share of the processors, up to 8",
        bounds=Bounds(0),
    )
    compile: bool = hyper(
        False, "Compile the network with torch.compile first: minutes at the start, faster steps.", COMPUTE
    )
    channels_last: bool | None = hyper(
        None, "Keep channels innermost in memory.", COMPUTE, shown_default="in half precision on a GPU"
    )
    gradient_checkpointing: bool = hyper(
        False, "For small cards: compute activations twice instead of keeping them.", COMPUTE
    )
    deterministic: bool = hyper(
        True, "The same seed gives the same weights on the same GPU; without it, steps may be faster.", COMPUTE
    )

    def uses_channels_last(self, amp: str | None) -> bool:
        """Whether channels are innermost, given the mixed precision (None for float32)."""
        return amp is not None if self.channels_last is None else self.channels_last


@dataclass(frozen=True)
class TrainingOptions:
    """The hyper-parameters of a run.

    A new one is a field here, and its use: command line, checks, search space and configuration follow from the field.
    """

    architecture: Architecture = hyper(Architecture.RESNET, "The network.", search=Choices(tuple(Architecture)))
    size: Size = hyper(Size.MEDIUM, "Input size of the network.", search=Choices((Size.SMALL, Size.MEDIUM, Size.LARGE)))
    fold: int = hyper(0, "Fold to validate on; the others are trained on.", INPUT, bounds=Bounds(0, FOLDS - 1))
    epochs: int = hyper(40, "Passes over the training scans.", OPTIMISATION, bounds=Bounds(1))
    batch_size: int = hyper(2, "Scans to a batch, on each GPU.", OPTIMISATION, bounds=Bounds(1))
    accumulate: int = hyper(
        1, "Batches to a step of the optimiser, for cards that hold few scans at once.", OPTIMISATION, bounds=Bounds(1)
    )
    learning_rate: float = hyper(
        1e-4,
        "Maximum of the 1cycle schedule.",
        OPTIMISATION,
        bounds=Bounds(0, low_open=True),
        search=Numbers(1e-5, 1e-3, log=True),
    )
    weight_decay: float = hyper(
        1e-5,
        "Weight decay, added to the loss (L2); batch norm and biases are spared.",
        OPTIMISATION,
        bounds=_NOT_NEGATIVE,
    )
    decoupled_decay: bool = hyper(
        False,
        "Apply the weight decay to the weights (AdamW), as the paper's own code does, and not to the loss.",
        OPTIMISATION,
    )
    gamma: float = hyper(2.0, "γ of the focal loss.", LOSS, bounds=_NOT_NEGATIVE, search=Numbers(0.0, 4.0))
    emd_weight: float = hyper(
        0.2, "λ, the share of the earth mover's distance in the loss.", LOSS, bounds=_SHARE, search=Numbers(0.0, 0.9)
    )
    distances: tuple[float, ...] = hyper(
        (1.0, 1.0, 1.0, 1.0),
        "From non-COVID to mild, moderate, severe, critical: the four distances between neighbouring categories.",
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
        "Probability of dropping an activation; not for swin, which has no dropout.",
        bounds=Bounds(0, 1, high_open=True),
        search=Numbers(0.0, 0.6),
        shown_default=str(_DROPOUT),
        cli_type=float,
    )
    reflect: bool = hyper(True, "Reflect every other scan, left to right.", AUGMENTATION)
    brightness: float = hyper(
        0.04, "σ_b, standard deviation of the shift.", AUGMENTATION, bounds=_NOT_NEGATIVE, search=Numbers(0.0, 0.1)
    )
    contrast: float = hyper(
        0.04,
        "σ_c, standard deviation of the logarithm of the factor.",
        AUGMENTATION,
        bounds=_NOT_NEGATIVE,
        search=Numbers(0.0, 0.1),
    )
    seed: int = hyper(
        0,
        "Random seed, of weights, order, dropout and augmentation.",
        OPTIMISATION,
        bounds=Bounds(0, 2**32 - 1),
    )
    precision: Precision = hyper(
        Precision.AUTO, "Arithmetic; auto is fp32 on a CPU and bf16, else fp16, on a GPU.", COMPUTE
    )
    pretrained: bool = hyper(True, "Start from pretrained weights: Kinetics-400's, or those of --from-checkpoint.")
    experiment: int | None = hyper(
        None,
        "Number of one of the paper's experiments, which sets every hyper-parameter and the seed; options given "
        "beside it win. cov3d experiments lists them.",
        EXPERIMENT,
        shown_default="",
        cli_type=int,
    )

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
        check_bounds(self)
