"""Gradient checkpointing: less memory for activations, more computation.

Each block of a network keeps only its input. Its activations are computed again in the backward pass. With torch's
`checkpoint` alone, this second pass would update the running statistics of batch norm a second time; here it does not
change them. `track_running_stats` can't be used for this: `checkpoint` requires the second pass to save the same
tensors as the first, and the running statistics are among them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY


def check_has_blocks(architecture: Architecture) -> None:
    """Check that a network can be trained with gradient checkpointing.

    Raises:
        Cov3dError: its entry has no blocks.
    """
    if not REGISTRY[architecture].blocks:
        raise Cov3dError(
            f"--gradient-checkpointing: the entry of {architecture} has no blocks; leave out the option, or add "
            "`blocks` to the entry"
        )


def checkpoint_activations(model: nn.Module, architecture: Architecture) -> nn.Module:
    """Make the blocks of a network discard their activations, and compute them again in the backward pass.

    Gradients, running statistics, the names in the state dict and the outputs in evaluation do not change.

    Args:
        model: the network, changed in place.
        architecture: its architecture, whose entry has the blocks.

    Raises:
        Cov3dError: the network has no such block.
    """
    check_has_blocks(architecture)
    blocks = blocks_of(model, architecture)
    if not blocks:
        raise Cov3dError(f"--gradient-checkpointing: {architecture} has none of the blocks of its entry")
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    return model


def blocks_of(model: nn.Module, architecture: Architecture) -> list[nn.Module]:
    """The blocks of a network that can discard their activations; of nested blocks the outermost."""
    return list(_outermost(model, REGISTRY[architecture].blocks))


def _outermost(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    if isinstance(module, kinds):
        yield module
        return
    for child in module.children():
        yield from _outermost(child, kinds)


def _recomputed(block: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _statistics_kept(norms)

    def recomputed(inputs: Tensor) -> Tensor:
        if not (block.training and torch.is_grad_enabled()):
            return forward(inputs)
        if torch.compiler.is_compiling():  # the second pass of a compiled graph has no side effects
            return checkpoint(forward, inputs, use_reentrant=False)
        return checkpoint(forward, inputs, use_reentrant=False, context_fn=contexts)

    return recomputed


@contextmanager
def _statistics_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """Within the block, these batch norms normalise by the batch, but do not update their running statistics."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
