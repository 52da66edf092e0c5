"""Folders that trackers make in a run's folder, and the options of a run in the form that they show."""

from dataclasses import asdict

from cov3d.training.options import TrainingOptions

TENSORBOARD_FOLDER, WANDB_FOLDER = "tensorboard", "wandb"


def plain(options: TrainingOptions) -> dict[str, float | str | bool]:
    """The options by name, without those that are None; several numbers become one text."""
    values = {name: value for name, value in asdict(options).items() if value is not None}
    return {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else getattr(value, "value", value)
        for name, value in values.items()
    }
