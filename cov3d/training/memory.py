"""How much memory a run needs on its device: told before it begins, and explained when it was not enough."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from cov3d.errors import DeviceMemoryError
from cov3d.training.device import amp_mode
from cov3d.training.options import TrainingOptions

_COPIES = 4
"""Weights, their gradients, and the optimiser's two moments; all float32."""

_HALF = 0.55
"""Of the bytes kept for the backward pass in float32, what half precision keeps: norms and softmax stay float32."""

_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def estimate(model: nn.Module, options: TrainingOptions, amp: str | None) -> int:
    """Bytes that a training step takes at its peak, without what libraries take for themselves.

    It is the sum of what does not change with the batch (weights, gradients, moments), what the backward pass needs
    kept of the forward pass, and the two gradients of the largest activation. The forward pass is done on tensors
    without content.
    """
    network = deepcopy(model).to("meta").train()
    kept: dict[int, torch.UntypedStorage] = {}
    own = {id(parameter) for parameter in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage  # held, so that no later one has its number
        return tensor

    volumes = torch.empty(options.batch_size, 1, *options.size.shape, device="meta")
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(volumes)
    del logits
    sizes = [storage.nbytes() for storage in kept.values()]
    changing = sum(sizes) + 2 * max(sizes, default=0)
    fixed = _COPIES * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return fixed + int(changing * (1 if amp is None else _HALF))


def line(model: nn.Module, options: TrainingOptions, device: torch.device) -> str:
    """The estimate in words, beside what the device has."""
    needed = estimate(model, options, amp_mode(options.precision, device))
    return f"estimated peak memory: {_words(needed)}, of {_words(free(device))} free on {device}"


def free(device: torch.device) -> int:
    """Bytes that are free on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def explained(options: TrainingOptions, device: torch.device) -> Iterator[None]:
    """Turn the end of the device's memory into one sentence.

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
        smaller = f"--batch-size {options.batch_size // 2} --accumulate {2 * options.accumulate}, "
        raise DeviceMemoryError(
            f"{options.batch_size} scans of size {options.size} do not fit into the memory of {device}, of which "
            f"{_words(before)} were free before the run: try {smaller if options.batch_size > 1 else ''}"
            "--gradient-checkpointing, or a smaller --size"
        ) from error


def _words(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB"
