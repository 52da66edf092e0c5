"""Optional trackers for a run, in addition to its `history.csv`: TensorBoard, Weights & Biases."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cov3d.errors import Cov3dError
from cov3d.training.options import TrainingOptions
from cov3d.training.tracking.tracker import Tracker

_PROJECT = "cov3d"


def make_trackers(
    folder: Path,
    options: TrainingOptions,
    *,
    tensorboard: bool = False,
    wandb: bool = False,
    offline: bool = False,
    project: str | None = None,
    warn: Callable[[str], None],
) -> list[Tracker]:
    """Make the requested trackers.

    Args:
        folder: of the run. Its name is the run's name in the trackers.
        options: of the run.
        tensorboard: write TensorBoard's event files.
        wandb: send the run to Weights & Biases.
        offline: write the data for Weights & Biases to files instead; so does WANDB_MODE=offline. (WANDB_MODE=disabled
            sends nothing.)
        project: on Weights & Biases; None for WANDB_PROJECT, else cov3d.
        warn: called with a message when a tracker fails and the run continues.

    Raises:
        Cov3dError: a package is missing, or the key for the server.
    """
    trackers: list[Tracker] = []
    if tensorboard:
        _need("tensorboard", "--tensorboard")
        from cov3d.training.tracking.tensorboard import TensorBoard

        trackers.append(TensorBoard(folder, options, warn))
    if wandb and os.environ.get("WANDB_MODE") != "disabled":
        _need("wandb", "--wandb")
        from cov3d.training.tracking.weights_and_biases import WeightsAndBiases, check_login

        if not (offline := offline or os.environ.get("WANDB_MODE") in ("offline", "dryrun")):
            check_login()
        project = project or os.environ.get("WANDB_PROJECT") or _PROJECT
        name = folder.resolve().name
        trackers.append(WeightsAndBiases(folder, options, warn, name=name, project=project, offline=offline))
    return trackers


def _need(package: str, option: str) -> None:
    if find_spec(package) is None:
        raise Cov3dError(f"{option} needs the package {package}: pip install 'cov3d[{package}]'")
