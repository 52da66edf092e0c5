"""The command `train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchapp import Param

from cov3d.app import options, tracking
from cov3d.app.console import Printer
from cov3d.training.options import TrainingOptions

if TYPE_CHECKING:
    from cov3d.training.learner import Run


def training_options(self: object, **given: object) -> TrainingOptions:
    """Every hyper-parameter: as given, else the experiment's, else the paper's default.

    Its options on the command line are made from the fields of `TrainingOptions` (`declarations`).
    """
    from cov3d.api import given as keywords

    return keywords.training_options(None, given)


def train(
    self: object,
    store: Path = options.store(),
    output_dir: Path = Param(
        None,
        help="The run's folder.",
        show_default="DATA/runs/<experiment or options, fold, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    resume: bool = Param(
        False,
        help="Resume the run in the folder, if there is one. The result is the same as without the interruption.",
        rich_help_panel=options.OUTPUT,
    ),
    **kwargs: Any,
) -> "Run":
    """Train a network on four folds and validate it on the fifth after every epoch.

    On several GPUs: torchrun --nproc-per-node N -m cov3d train …; a step then sees N batches.
    """
    from cov3d.api import training

    return training.train(
        store=store,
        output_dir=output_dir,
        overwrite=overwrite,
        resume=resume,
        trackers=tracking.take(kwargs),
        listener=Printer(),
        **kwargs,
    )
