"""Writing the files of an epoch in a thread, from copies, while the next epoch is trained."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """Copies of tensors in the host's memory, which is allocated once and used again.

    A GPU copies after the work that it has been sent so far, and before what it is sent later. The host does not wait.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}
        self._devices: set[torch.device] = set()
        self._copied: list[torch.cuda.Event] = []

    def take(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Copy all tensors in dictionaries, lists and tuples. The copies of the call before are overwritten.

        The copies of tensors on a GPU must not be read before `wait`.
        """
        self._devices = set()
        copied = {name: self._copy(value, (name,)) for name, value in values.items()}
        self._copied = [torch.cuda.current_stream(device).record_event() for device in self._devices]
        return copied

    def wait(self) -> None:
        """Wait until the copies are complete."""
        for copied in self._copied:
            copied.synchronize()

    def _copy(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), place)
        if isinstance(value, Mapping):
            return {key: self._copy(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._copy(item, (*place, number)) for number, item in enumerate(value))
        return value

    def _copy_tensor(self, tensor: Tensor, place: tuple[Any, ...]) -> Tensor:
        buffer = self._buffers.get(place)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = self._buffers[place] = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
        if tensor.is_cuda:
            self._devices.add(tensor.device)
        return buffer.copy_(tensor, non_blocking=True)


class BackgroundWork:
    """One piece of work at a time in a thread. Leaving the block waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write-epoch")
        self._pending: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start a piece of work. There must be none: call `wait` before."""
        self._pending = self._thread.submit(work)

    def wait(self) -> None:
        """Wait for the work that was started, and raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the work, whatever became of it. A later `start` raises `RuntimeError`."""
        self._thread.shutdown(wait=True)
