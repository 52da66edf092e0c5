"""Options of how a run is computed, and the processes that compute it."""

from typing import Any

from cov3d.app import options
from cov3d.training.hyper_parameters import hyper_parameters
from cov3d.training.options import Compute


def compute_options(self: Any, device: str = "auto", **given: Any) -> tuple[Any, Any, Compute]:
    """The device, this process's place among those of the run, and how to compute.

    The options on the command line are `--device` and the fields of `Compute` (`declarations`).
    """
    from cov3d.training.device import choose_device
    from cov3d.training.distributed import launched

    world = launched()
    target = choose_device(device, world.local_rank)
    names = hyper_parameters(Compute).keys()
    values = {name: value for name, value in given.items() if name in names and value is not None}
    workers = options.default_workers(values.pop("workers", None), target.type, world.local_size)
    return target, world, Compute(workers=workers, **values)
