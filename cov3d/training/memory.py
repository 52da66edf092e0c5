"""Estimate the memory that a run needs on its device, and explain out-of-memory errors."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from cov3d.errors import DeviceMemoryError
from cov3d.models.memory import blocks_of
from cov3d.training.device import amp_mode
from cov3d.training.options import TrainingOptions

_COPIES = 4
"""Weights, their gradients, and the optimiser's two moments; all float32."""

_HALF = 0.55
"""Bytes kept for the backward pass in half precision, relative to float32. Norms and softmax stay float32."""

_WORDS = (
    *("out of memory", "can't allocate memory", "cannot allocate memory"),
    *("unable to find a valid cudnn algorithm", "cudnn_status_alloc_failed"),
)


def estimate(model: nn.Module, options: TrainingOptions, amp: str | None, *, checkpointing: bool = False) -> int:
    """Peak memory of a training step in bytes, without the memory that libraries use for themselves.

    It is the sum of the parts that do not depend on the batch (weights, gradients, moments), the activations kept for
    the backward pass, and the two gradients of the largest activation. The forward pass uses tensors without content.

    Args:
        model: the network, without checkpointed activations.
        options: for size and batch.
        amp: the mixed precision, None for float32.
        checkpointing: whether activations will be checkpointed. Then the inputs of all blocks and the activations of
            one block are kept.
    """
    network = deepcopy(model).to("meta").train()
    volumes = torch.empty(options.batch_size, 1, *options.size.shape, device="meta")
    kept = _kept(network, volumes, blocks_of(network, options.architecture))
    sizes = {block: [storage.nbytes() for storage in found.values()] for block, found in kept.items()}
    largest = max(max(found, default=0) for found in sizes.values())
    if checkpointing:
        inputs = sum(max(found, default=0) for block, found in sizes.items() if block is not None)
        activations = sum(sizes[None]) + inputs + max(sum(found) for found in sizes.values())
    else:
        activations = sum(map(sum, sizes.values()))
    fixed = _COPIES * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return fixed + int((activations + 2 * largest) * (1 if amp is None else _HALF))


def _kept(
    network: nn.Module, volumes: Tensor, blocks: Sequence[nn.Module]
) -> dict[int | None, dict[int, torch.UntypedStorage]]:
    """The storages kept for the backward pass, by the block that needs them first; None for no block."""
    kept: dict[int | None, dict[int, torch.UntypedStorage]] = {None: {}, **{index: {} for index in range(len(blocks))}}
    parameters = {id(parameter) for parameter in network.parameters()}
    known: set[int] = set()
    current: int | None = None

    def enter(index: int | None) -> Callable[..., None]:
        def hook(*_: object) -> None:
            nonlocal current
            current = index

        return hook

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(tensor) not in parameters and storage._cdata not in known:
            known.add(storage._cdata)
            kept[current][storage._cdata] = storage  # keep a reference, so that its address is not reused
        return tensor

    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(enter(index))
        block.register_forward_hook(enter(None))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(volumes)
    return kept


def describe(model: nn.Module, options: TrainingOptions, device: torch.device, *, checkpointing: bool) -> str:
    """A sentence with the estimate and the free memory of the device."""
    needed = estimate(model, options, amp_mode(options.precision, device), checkpointing=checkpointing)
    available = free(device)
    rest = "" if available is None else f" ({_in_gib(available)} free on {device})"
    return f"estimated peak memory: {_in_gib(needed)}{rest}"


def free(device: torch.device) -> int | None:
    """Free bytes on the device; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = [value for value in (_machine_memory(), _container_memory()) if value is not None]
    return min(known, default=None)


def _machine_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (found,) = (line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, ValueError):
        return None


def _container_memory() -> int | None:
    """Free bytes within the limit of this process's control group (version 2); None if there is no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or the limit is `max`
        return None


@contextmanager
def explained(options: TrainingOptions, device: torch.device) -> Iterator[None]:
    """Turn out-of-memory errors into one sentence.

    Raises:
        DeviceMemoryError: a batch did not fit.
    """
    before = free(device)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(
            words in str(error).lower() for words in _WORDS
        ):
            raise
        free_before = "" if before is None else f" ({_in_gib(before)} were free before the run)"
        half = f"--batch-size {options.batch_size // 2} --accumulate {2 * options.accumulate}, "
        smaller = half if options.batch_size > 1 else ""
        raise DeviceMemoryError(
            f"{options.batch_size} scans of size {options.size} do not fit into the memory of {device}{free_before}: "
            f"try {smaller}--gradient-checkpointing, or a smaller --size"
        ) from error


def _in_gib(count: int) -> str:
    return f"{max(count / 1024**3, 0.1):.1f} GiB"


_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def freed_afterwards(train: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Free the memory of a training when it ends, also with an error.

    Learner and callbacks refer to each other, and keep network, optimiser and loading processes alive. Python collects
    such cycles late, because they are few objects, however large: five folds in one process would keep five networks.
    """

    @wraps(train)
    def freeing(*arguments: _Given.args, **options: _Given.kwargs) -> _Result:
        try:
            return train(*arguments, **options)
        finally:
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    return freeing
