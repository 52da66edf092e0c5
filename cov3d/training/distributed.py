"""Training on several GPUs: the processes that `torchrun` starts, and their communication.

Gradients are exchanged by PyTorch's `DistributedDataParallel`; scores and losses as CPU tensors through gloo. fastai's
distributed mode is not used: it pads the validation set with repeated scans and needs its own launcher.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, distributed

from cov3d.errors import Cov3dError, PeerLostError


@dataclass(frozen=True)
class World:
    """This process among the processes of a run.

    Attributes:
        rank: number of this process, from 0. Only rank 0 writes files and prints.
        size: number of processes.
        local_rank: number of this process, and of its GPU, on this machine.
        local_size: number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0


ALONE = World()
_LOST = ("closed by peer", "reset by peer", "timed out", "timeout", "broken pipe", "remote process has terminated")


def launched() -> World:
    """The `World` given by `torchrun`; one process if it was not started by torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    return World(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Connect the processes of `world` while the block runs.

    Raises:
        PeerLostError: another process has ended, and this one would wait for it forever.
    """
    if world.size == 1:
        yield
        return
    with _explained():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
        # Not after an error: this would wait for processes that may have ended.
        distributed.destroy_process_group()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn communication errors into one sentence: another process has ended, or the processes can't communicate."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).lower()
        if not (isinstance(error, distributed.DistError) or "gloo" in message or "nccl" in message):
            raise
        if any(words in message for words in _LOST):
            raise PeerLostError(
                "another process of this run has ended, so this one ends too: its error message has the reason"
            ) from error
        reason = " ".join(str(error).split("\n", 1)[0].split())[:300]
        raise Cov3dError(
            f"the processes of this run can't communicate ({reason}): check the arguments of torchrun"
        ) from error


@contextmanager
def first_before_others(world: World) -> Iterator[None]:
    """Run the block in rank 0 first, then in all others, which find the files that rank 0 made."""
    if not world.is_first:
        _wait()
    yield
    if world.is_first and world.size > 1:
        _wait()


def _wait() -> None:
    distributed.all_reduce(torch.zeros(1))  # not barrier(), which would go through the GPUs


def agree(value: int, world: World) -> bool:
    """Whether `value` is the same in all processes."""
    if world.size == 1:
        return True
    ends = torch.tensor([value, -value])
    distributed.all_reduce(ends, op=distributed.ReduceOp.MAX)
    return bool(ends.sum() == 0)


def share(count: int, world: World) -> range:
    """The indices of `count` items for this process. Each item belongs to exactly one process."""
    return range(world.rank, count, world.size)


def gather(rows: Tensor, count: int, world: World) -> Tensor:
    """Gather the rows of all `count` items, in order, from the `share` of each process; on the CPU.

    Args:
        rows: of this process, shape (len(share), …).
        count: number of all items.
        world: the processes; all must call this.
    """
    rows = rows.cpu()
    if world.size == 1:
        return rows
    most = ceil(count / world.size)
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world.size)]
    distributed.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:count]


def total(values: Tensor, world: World) -> Tensor:
    """The sum of `values` over all processes, float64, on the CPU."""
    values = values.detach().to("cpu", torch.float64)
    if world.size > 1:
        distributed.all_reduce(values)
    return values
