"""Executors that preprocess the scans of a batch: this process, a pool of processes, or a Dask cluster.

All three take calls and return futures, as `concurrent.futures` does, so the same loop (in `batch`) serves them. Each
also has a limit on the calls submitted at a time, so that thousands of scans never wait in memory, and the exceptions
that mean that a worker was lost, not that the scan is bad.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol

from cov3d.preprocessing.process import set_up
from cov3d.processes import Leash, Pool, environment

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB", "NUMEXPR")}


class Executor(Protocol):
    """The interface that the loop over a batch uses."""

    lost: tuple[type[Exception], ...]
    """Exceptions that a future raises when its process was killed."""

    def workers(self) -> int:
        """Number of scans that can be processed at once now."""

    def room(self) -> int:
        """Maximum number of calls to submit at a time."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Schedule `work(*arguments)`."""


class ThisProcess:
    """Runs each call in this process, when it is submitted."""

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
def this_process() -> Iterator[ThisProcess]:
    """This process, set up for preprocessing."""
    with set_up():
        yield ThisProcess()


class Processes:
    """A pool of processes. It is started again when a process was killed, which breaks a pool."""

    lost: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, jobs: int, leash: Leash) -> None:
        self._jobs, self._leash = jobs, leash
        self._pool = self._start()

    def _start(self) -> Pool:
        return Pool(self._jobs, self._leash, set_up)

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
    """A pool of `jobs` processes with one thread each.

    When the block ends with an error, the processes finish their current scans. When it is interrupted or this process
    is killed, they stop at once: the store never holds a partial scan.
    """
    with environment(_ONE_THREAD), Leash() as leash:
        pool = Processes(jobs, leash)
        try:
            yield pool
        except Exception:  # scans in work are finished and kept
            raise
        except BaseException:
            leash.cut()
            raise
        finally:
            pool.close()
