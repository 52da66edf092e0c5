"""Gradient checkpointing: less memory for activations, more computation.

Each block of a network keeps its input only, and what lies within is computed again in the backward pass. torch's
`checkpoint` would pass through batch norm twice and so update its running statistics twice; here the second pass
leaves them alone. That can't be done by hiding them from it (`track_running_stats`): `checkpoint` wants the second pass
to save the very tensors that the first one saved, and they are among them.
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
    """Make sure that a network can be trained with gradient checkpointing.

    Raises:
        Cov3dError: its entry names no blocks.
    """
    if not REGISTRY[architecture].blocks:
        raise Cov3dError(
            f"--gradient-checkpointing: the entry of {architecture} names no blocks that can be computed twice; leave "
            "the option out, or name them"
        )


def checkpoint_activations(model: nn.Module, architecture: Architecture) -> nn.Module:
    """Make the blocks of a network forget their activations, and compute them again in the backward pass.

    Gradients, running statistics, the names in its state and what it gives in evaluation stay as they are.

    Args:
        model: the network, changed in place.
        architecture: which it is; its entry names the blocks.

    Raises:
        Cov3dError: there is no block in it.
    """
    check_has_blocks(architecture)
    blocks = blocks_of(model, architecture)
    if not blocks:
        raise Cov3dError(f"--gradient-checkpointing: {architecture} has none of the blocks that its entry names")
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    return model


def blocks_of(model: nn.Module, architecture: Architecture) -> list[nn.Module]:
    """The blocks of a network that can forget their activations; of one inside another, the outer one."""
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
        if torch.compiler.is_compiling():  # there the second pass is of the graph, which has no side effects
            return checkpoint(forward, inputs, use_reentrant=False)
        return checkpoint(forward, inputs, use_reentrant=False, context_fn=contexts)

    return recomputed


@contextmanager
def _statistics_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """While it lasts, these batch norms normalise by the batch, as ever, but do not take note of it."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
