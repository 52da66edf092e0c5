"""Options of where a run can be watched."""

from torchapp import Param

from cov3d.api.tracking import Tracking

TRACKING = "Tracking (history.csv is always written)"


def trackers(
    self: object,
    tensorboard: bool = Param(
        False, help="Write TensorBoard's event files to the run's folder.", rich_help_panel=TRACKING
    ),
    wandb: bool = Param(False, help="Send options, losses and scores to Weights & Biases.", rich_help_panel=TRACKING),
    wandb_offline: bool = Param(
        False,
        help="Write the data for Weights & Biases to the run's folder, and send it later with wandb sync.",
        rich_help_panel=TRACKING,
    ),
    wandb_project: str = Param(
        None, help="Project on Weights & Biases.", show_default="WANDB_PROJECT, else cov3d", rich_help_panel=TRACKING
    ),
) -> Tracking:
    """Declare the options of the trackers."""
    return _tracking(bool(tensorboard), bool(wandb), bool(wandb_offline), wandb_project)


def take(given: dict[str, object]) -> Tracking:
    """Remove the options of the trackers from those `given`, and return the trackers that they select."""
    tensorboard, wandb, offline = (bool(given.pop(name, False)) for name in ("tensorboard", "wandb", "wandb_offline"))
    project = given.pop("wandb_project", None)
    return _tracking(tensorboard, wandb, offline, None if project is None else str(project))


def _tracking(tensorboard: bool, wandb: bool, offline: bool, project: str | None) -> Tracking:
    """The trackers selected; what is kept offline is for Weights & Biases, so that option selects it too."""
    return Tracking(tensorboard, wandb or offline, offline, project)
