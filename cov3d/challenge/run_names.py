"""The name of a run's folder: its experiment or network, and the options that differ from the defaults."""

from pathlib import Path
from typing import Any

from cov3d.challenge.experiments import find, options_of
from cov3d.training.options import TrainingOptions


def run_name(options: TrainingOptions, from_checkpoint: str | Path | None = None) -> str:
    """The default name of a run's folder, such as `resnet_medium_fold-0_seed-0`.

    It begins with the experiment, or with network and size. Then follow the options that differ from the experiment's
    or from the defaults, and fold and seed.

    Args:
        options: options of the run.
        from_checkpoint: the checkpoint that it starts from. It is noted in the name, unless the experiment needs one.

    Raises:
        Cov3dError: there is no such experiment.
    """
    return "_".join([*_parts(options, from_checkpoint), f"fold-{options.fold}", f"seed-{options.seed}"])


def name_without_fold(options: TrainingOptions, from_checkpoint: str | Path | None = None) -> str:
    """The name that the runs of one configuration share, whatever their fold."""
    return "_".join([*_parts(options, from_checkpoint), f"seed-{options.seed}"])


def differing(options: TrainingOptions) -> dict[str, Any]:
    """The options that differ from the experiment's or from the defaults.

    Fold, seed and the start of `run_name` are left out.
    """
    plain = options_of(options.experiment, architecture=options.architecture)
    apart = {"experiment", "architecture", "fold", "seed"} | ({"size"} if options.experiment is None else set())
    found = {
        name: value for name, value in vars(options).items() if name not in apart and value != getattr(plain, name)
    }
    if options.architecture != options_of(options.experiment).architecture and options.experiment:
        return {"architecture": options.architecture, **found}
    return found


def _parts(options: TrainingOptions, from_checkpoint: str | Path | None) -> list[str]:
    if options.experiment is None:
        needs_checkpoint, parts = False, [options.architecture.value, options.size.value]
    else:
        needs_checkpoint, parts = find(options.experiment).stoic, [f"experiment-{options.experiment}"]
    parts += [f"{name.replace('_', '-')}-{_brief(value)}" for name, value in differing(options).items()]
    if from_checkpoint is not None and not needs_checkpoint:
        parts.append("from-checkpoint")
    return parts


def _brief(value: Any) -> str:
    return "-".join(f"{step:g}" for step in value) if isinstance(value, tuple) else str(value)
