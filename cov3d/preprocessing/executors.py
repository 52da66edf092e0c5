"""Where the scans of a batch are preprocessed: in this process, in processes beside it, or on a Dask cluster.

All three take calls and give futures, as `concurrent.futures` does, so that one loop (in `batch`) serves them. Beyond
that each says how many calls it wants at hand, so that thousands of scans never wait in memory, and which error
means that a worker was lost rather than that the scan is bad.
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
    """`jobs` processes beside this one, each on one thread.

    When the block ends with an error, they finish what they have begun. When it is interrupted, or this process
    killed, they stop at once: a scan is in the store whole or not at all.
    """
    with environment(_ONE_THREAD), Leash() as leash:
        pool = Processes(jobs, leash)
        try:
            yield pool
        except Exception:  # what was begun is finished, and kept
            raise
        except BaseException:
            leash.cut()
            raise
        finally:
            pool.close()
