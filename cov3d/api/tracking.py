"""Where a run is to be watched, beside its own `history.csv`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.errors import Cov3dError
from cov3d.listener import Listener
from cov3d.training.options import TrainingOptions

if TYPE_CHECKING:  # it loads fastai
    from cov3d.training.tracking import Tracker


@dataclass(frozen=True)
class Tracking:
    """The trackers that are asked for.

    Attributes:
        tensorboard: write TensorBoard's event files to the run's folder.
        wandb: send options, losses and scores to Weights & Biases.
        offline: keep what Weights & Biases would be sent in the run's folder.
        project: on Weights & Biases; None for `$WANDB_PROJECT`, else cov3d.
    """

    tensorboard: bool = False
    wandb: bool = False
    offline: bool = False
    project: str | None = None


_NAMES = {
    "tensorboard": Tracking(tensorboard=True),
    "wandb": Tracking(wandb=True),
    "wandb-offline": Tracking(wandb=True, offline=True),
}


def asked(trackers: Tracking | Sequence[str]) -> Tracking:
    """The trackers that are asked for, perhaps by name: tensorboard, wandb, wandb-offline.

    Raises:
        Cov3dError: there is no tracker of a name.
    """
    if isinstance(trackers, Tracking):
        return trackers
    names = [trackers] if isinstance(trackers, str) else list(trackers)
    if unknown := [name for name in names if name not in _NAMES]:
        raise Cov3dError(f"trackers are {', '.join(_NAMES)}, not {unknown[0]!r}")
    wanted = [_NAMES[name] for name in names]
    return Tracking(
        tensorboard=any(one.tensorboard for one in wanted),
        wandb=any(one.wandb for one in wanted),
        offline=any(one.offline for one in wanted),
    )


def make(wanted: Tracking, folder: Path, options: TrainingOptions, listener: Listener) -> "list[Tracker]":
    """The trackers of the run in `folder`; that of Weights & Biases asks for its key now, not hours later.

    Raises:
        Cov3dError: a package is missing, or the key for the server.
    """
    from cov3d.training import tracking

    return tracking.make_trackers(folder, options, **asdict(wanted), warn=listener.warn)
