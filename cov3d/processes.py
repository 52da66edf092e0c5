"""Pools of child processes, for the command line and Python callers.

Children are spawned, not forked, because a fork of a process with threads may hang. They ignore Ctrl-C from their
start, and end when this process ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, Self

_SPAWN = multiprocessing.get_context("spawn")
_QUIET = "ignore:resource_tracker:UserWarning"


class Leash:
    """Ties child processes to this one: they end at once when it is cut, or when this process ends.

    No data is sent through its pipe. The children notice when the writing end is closed, which the system does when
    this process ends.
    """

    def __init__(self) -> None:
        self.followed, self._end = _SPAWN.Pipe(duplex=False)

    def cut(self) -> None:
        """End the processes at once."""
        self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.followed.close()


class Pool(ProcessPoolExecutor):
    """A pool of processes on a leash.

    Args:
        jobs: number of processes.
        leash: ends them.
        set_up: called in each process at its start.
    """

    def __init__(self, jobs: int, leash: Leash, set_up: Callable[[], Any]) -> None:
        with environment(quiet_tracker()):
            super().__init__(jobs, _SPAWN, initializer=_start, initargs=(leash.followed, set_up))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As in every executor. Processes started by it ignore Ctrl-C."""
        with _ctrl_c_held(), _main_hidden():
            return super().submit(fn, *args, **kwargs)


def _start(leash: Connection, set_up: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    threading.Thread(target=_end_when_closed, args=(leash,), daemon=True).start()
    set_up()


def _end_when_closed(leash: Connection) -> None:
    leash.poll(None)
    os._exit(1)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Block Ctrl-C in this thread while the block runs, and for good in processes started by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep processes that are started from running the caller's script again, which would start its work once more.

    They need nothing of it, and a short script has no `if __name__ == "__main__"`.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def quiet_tracker() -> dict[str, str]:
    """Environment that silences Python's resource tracker, which warns of semaphores of killed processes."""
    given = [part for part in os.environ.get("PYTHONWARNINGS", "").split(",") if part and part != _QUIET]
    return {"PYTHONWARNINGS": ",".join([*given, _QUIET])}


@contextmanager
def environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes started in the block. Libraries read them when they are imported."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
