"""Options of where a run can be watched."""

from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app.console import say_warning
from cov3d.training.options import TrainingOptions

TRACKING = "Tracking (history.csv is always written)"


def trackers(
    self: Any,
    folder: Path,
    chosen: TrainingOptions,
    tensorboard: bool = Param(
        False, help="Write TensorBoard's event files to the run's folder.", rich_help_panel=TRACKING
    ),
    wandb: bool = Param(False, help="Send options, losses and scores to Weights & Biases.", rich_help_panel=TRACKING),
    wandb_offline: bool = Param(
        False,
        help="Keep what Weights & Biases would be sent in the run's folder; wandb sync sends it later.",
        rich_help_panel=TRACKING,
    ),
    wandb_project: str = Param(
        None, help="Project on Weights & Biases.", show_default="WANDB_PROJECT, else cov3d", rich_help_panel=TRACKING
    ),
) -> Any:
    """The trackers of the run in `folder`; that of Weights & Biases asks for its key now, not hours later."""
    from cov3d.training.tracking import make_trackers

    return make_trackers(
        folder,
        chosen,
        tensorboard=tensorboard,
        wandb=wandb or wandb_offline,
        offline=wandb_offline,
        project=wandb_project,
        warn=say_warning,
    )
