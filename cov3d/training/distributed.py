"""One run on several GPUs: the processes that `torchrun` starts, and what they tell each other.

Gradients go through PyTorch's `DistributedDataParallel`; what decides (scores, losses) goes through gloo, as tensors,
on the CPU. fastai's own distributed mode is not used: it pads the validation set with repeats, and needs a launcher of
its own.
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
    """The place of this process among those of a run.

    Attributes:
        rank: its number, from 0; rank 0 alone writes files and speaks.
        size: how many there are.
        local_rank: its number on this machine, and so of its GPU.
        local_size: how many there are on this machine.
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
    """The place that `torchrun` gave this process; a world of one where it was not started by it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    return World(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Connect the processes of `world` for as long as the block runs.

    Raises:
        PeerLostError: another process has ended, so that this one would wait for it forever.
    """
    if world.size == 1:
        yield
        return
    with _explained():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
        # Not where an error ends the block: it would wait for processes that may be gone.
        distributed.destroy_process_group()


@contextmanager
def _explained() -> Iterator[None]:
    """Tell a process that has lost another from processes that can't talk to each other."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).lower()
        if not (isinstance(error, distributed.DistError) or "gloo" in said or "nccl" in said):
            raise
        if any(words in said for words in _LOST):
            raise PeerLostError(
                "another process of this run has ended, so this one ends too: what it said is the reason"
            ) from error
        reason = " ".join(str(error).split("\n", 1)[0].split())[:300]
        raise Cov3dError(
            f"the processes of this run can't work together ({reason}): see how torchrun was called"
        ) from error


@contextmanager
def first_before_others(world: World) -> Iterator[None]:
    """Run the block in rank 0, then in all the others at once: what the first makes, they find."""
    if not world.is_first:
        _wait()
    yield
    if world.is_first and world.size > 1:
        _wait()


def _wait() -> None:
    distributed.all_reduce(torch.zeros(1))  # not barrier(), which would go through the GPUs


def agree(value: int, world: World) -> bool:
    """Whether all processes have the same value."""
    if world.size == 1:
        return True
    ends = torch.tensor([value, -value])
    distributed.all_reduce(ends, op=distributed.ReduceOp.MAX)
    return bool(ends.sum() == 0)


def share(count: int, world: World) -> range:
    """Which of `count` items this process is to see to: each item is one process's, and none is there twice."""
    return range(world.rank, count, world.size)


def gather(rows: Tensor, count: int, world: World) -> Tensor:
    """The rows of all `count` items, in order, from each process's `share` of them; on the CPU.

    Args:
        rows: this process's, shape (len(share), …).
        count: of all items.
        world: all processes call this at once.
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
