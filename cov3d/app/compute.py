"""Options of how a run is computed, and the processes that compute it."""

from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.training.options import Compute

_DEFAULTS = Compute()


def compute_options(
    self: Any,
    device: str = options.device(),
    workers: int = options.workers(),
    compile: bool = Param(
        _DEFAULTS.compile,
        help="Compile the network first: minutes at the start, faster steps.",
        rich_help_panel=options.COMPUTE,
    ),
    channels_last: bool = Param(
        None,
        help="Keep channels innermost in memory.",
        show_default="in half precision on a GPU",
        rich_help_panel=options.COMPUTE,
    ),
    gradient_checkpointing: bool = Param(
        _DEFAULTS.gradient_checkpointing,
        help="For small cards: compute activations twice instead of keeping them.",
        rich_help_panel=options.COMPUTE,
    ),
    deterministic: bool = Param(
        _DEFAULTS.deterministic,
        help="The same seed gives the same weights on the same GPU; without it, steps may be faster.",
        rich_help_panel=options.COMPUTE,
    ),
) -> tuple[Any, Any, Compute]:
    """The device, this process's place among those of the run, and how to compute."""
    from cov3d.training.device import choose_device
    from cov3d.training.distributed import launched

    world = launched()
    target = choose_device(device, world.local_rank)
    return (
        target,
        world,
        Compute(
            workers=options.default_workers(workers, target.type, world.local_size),
            compile=compile,
            channels_last=channels_last,
            gradient_checkpointing=gradient_checkpointing,
            deterministic=deterministic,
        ),
    )
