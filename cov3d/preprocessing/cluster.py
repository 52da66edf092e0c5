"""A running Dask cluster as an executor for a batch of scans. Only this module imports `distributed`, when needed.

Each worker is checked before it gets a scan: it must run the same version of cov3d and see the scans and the store
under the same paths. A worker that does not see the store would write its own.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cov3d
from cov3d.errors import ClusterError
from cov3d.preprocessing.process import set_up

if TYPE_CHECKING:
    from distributed import Client

_TIMEOUT = 10
"""Seconds in which a scheduler must answer."""

_LEAST_ROOM = 64
"""Calls submitted even to a small cluster, so that a cluster that scales with its load starts workers."""

_SECONDS_BETWEEN_CHECKS = 5


class Cluster:
    """A connection to a cluster, and the cluster's current size."""

    def __init__(self, client: "Client", visible: Sequence[Path]) -> None:
        from distributed import KilledWorker

        self.lost: tuple[type[Exception], ...] = (KilledWorker,)
        self._client, self._visible = client, tuple(visible)
        self._executor = client.get_executor(pure=False)
        self._threads, self._last_check = 0, float("-inf")

    def workers(self) -> int:
        """Number of threads of all workers. Each works on one scan at a time. Workers may come and go."""
        if time.monotonic() - self._last_check > _SECONDS_BETWEEN_CHECKS:
            self._threads = sum(self._client.nthreads().values())
            self._last_check = time.monotonic()
        return self._threads

    def room(self) -> int:
        return max(_LEAST_ROOM, 2 * self.workers())

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._executor.submit(_on_worker, cov3d.__version__, self._visible, work, *arguments)

    def check(self) -> None:
        """Check that the present workers can do the work. Workers that join later are checked with each call.

        Raises:
            ClusterError: a worker can't; the message names the worker and the problem.
        """
        problems = self._client.run(_worker_problem, cov3d.__version__, self._visible, on_error="return")
        for address, problem in problems.items():
            if isinstance(problem, Exception):
                problem = (
                    f"can't run cov3d ({type(problem).__name__}: {problem}): "
                    f"install cov3d {cov3d.__version__} where the workers run"
                )
            if problem:
                raise ClusterError(f"the Dask worker {address} {problem}")

    def close(self, *, at_once: bool) -> None:
        self._executor.shutdown(wait=not at_once)


@contextmanager
def cluster(address: str, visible: Sequence[Path]) -> Iterator[Cluster]:
    """The Dask cluster whose scheduler is at `address`, as an executor.

    When the block ends with an error, scans that have not started are cancelled and running ones finish.

    Args:
        address: of the scheduler, such as tcp://HOST:8786.
        visible: absolute paths that every worker must see.

    Raises:
        ClusterError: Dask is not installed, the scheduler does not answer or is lost, or a worker can't do the work.
    """
    with _connected(address) as client:
        connected = Cluster(client, visible)
        connected.check()
        try:
            yield connected
        except CancelledError as error:
            raise ClusterError(
                f"the connection to the Dask scheduler at {address} was lost: start the scheduler and run the same "
                "command again; finished scans are kept"
            ) from error
        except BaseException:
            connected.close(at_once=True)
            raise
        connected.close(at_once=False)


@contextmanager
def _connected(address: str) -> "Iterator[Client]":
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(f"Dask can't be imported ({error}): install it with pip install 'cov3d[dask]'") from error
    for name in ("distributed", "distributed.client"):  # failures are raised as a ClusterError instead
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        # Connect first: a client that finds no scheduler takes long to close and prints errors.
        asyncio.run(_try_to_connect(address))
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except Exception as error:  # another program may answer at this address
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler` and give the address "
            "that it prints"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=_TIMEOUT)


async def _try_to_connect(address: str) -> None:
    from distributed.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=_TIMEOUT, **Security().get_connection_args("client"))
    await comm.close()


def _on_worker(version: str, visible: Sequence[Path], work: Callable[..., Any], *arguments: Any) -> Any:
    if problem := _worker_problem(version, visible):
        raise ClusterError(f"a Dask worker {problem}")
    _set_up_once()
    return work(*arguments)


def _worker_problem(version: str, visible: Sequence[Path]) -> str:
    """Runs on a worker: why it can't do the work; empty if it can."""
    if version != cov3d.__version__:
        return f"has cov3d {cov3d.__version__}, but this is cov3d {version}: install the same version on the workers"
    for path in visible:
        if not path.exists():
            return (
                f"does not see {path}: put scans and store on a file system that all machines share under the same path"
            )
    return ""


@lru_cache
def _set_up_once() -> None:
    """Set this worker up once, for its lifetime. Dask may run several calls at once in one process."""
    set_up()
