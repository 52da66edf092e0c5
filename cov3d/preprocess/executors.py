"""Where the scans of a batch are preprocessed: in this process, in processes beside it, or on a Dask cluster.

All three take calls and give futures, as `concurrent.futures` does, so that one loop (in `batch`) serves them. Beyond
that each says how many calls it wants at hand, so that thousands of scans never wait in memory, and which error
means that a worker was lost rather than that the scan is bad.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Protocol

from cov3d.preprocess.process import set_up

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB", "NUMEXPR")} | {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"
}


class Executor(Protocol):
    """What the loop over a batch needs to know of where the work is done."""

    lost: tuple[type[Exception], ...]
    """What a future raises when the process that worked on it was killed."""

    def workers(self) -> int:
        """How many scans can be worked on at once, at the moment."""

    def room(self) -> int:
        """How many calls to have handed out at a time."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand out `work(*arguments)`."""


class Here:
    """This process: a call is done when it is handed out."""

    lost: tuple[type[Exception], ...] = ()

    def workers(self) -> int:
        return 1

    def room(self) -> int:
        return 1

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 - as every executor does
            future.set_exception(error)
        return future


@contextmanager
def here() -> Iterator[Here]:
    """This process, set up as one that preprocesses."""
    with set_up():
        yield Here()


class Processes:
    """A pool of processes, begun anew when one of them was killed, which breaks a pool."""

    lost: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, jobs: int, leash: Connection) -> None:
        self._jobs, self._leash = jobs, leash
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # Spawned, not forked: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._jobs, context, initializer=_start_worker, initargs=(self._leash,))

    def workers(self) -> int:
        return self._jobs

    def room(self) -> int:
        return 2 * self._jobs

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._pool.submit(work, *arguments)
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._start()
            return self._pool.submit(work, *arguments)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def processes(jobs: int) -> Iterator[Processes]:
    """`jobs` processes beside this one, each on one thread.

    When the block ends with an error, they finish what they have begun. When it is interrupted, or this process
    killed, they stop at once: a scan is in the store whole or not at all.
    """
    # Nothing is ever sent: the workers notice when the writing end is closed, and the system closes it if we die.
    leash, end = multiprocessing.get_context("spawn").Pipe(duplex=False)
    with _environment(_ONE_THREAD):
        pool = Processes(jobs, leash)
        try:
            yield pool
        except Exception:  # what was begun is finished, and kept
            raise
        except BaseException:
            end.close()
            raise
        finally:
            try:
                pool.close()
            finally:
                leash.close()
                end.close()


def _start_worker(leash: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_stop_when_closed, args=(leash,), daemon=True).start()
    set_up()


def _stop_when_closed(leash: Connection) -> None:
    leash.poll(None)
    os._exit(1)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Environment variables for processes to be spawned: a library reads them when it is first imported."""
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
