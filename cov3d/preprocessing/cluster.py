"""A running Dask cluster as an executor for a batch of scans; `distributed` is imported only here, and late.

What can go wrong on other machines is checked before a worker touches a scan: that it runs the same cov3d, and that
it sees the scans and the store under the same paths. A worker that did not see the store would write one of its own.
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
"""Calls handed out even to a small cluster, so that one that grows with its work sees that there is some."""

_SECONDS_BETWEEN_LOOKS = 5


class Cluster:
    """A connection to a cluster, and how much of it there is at the moment."""

    def __init__(self, client: "Client", visible: Sequence[Path]) -> None:
        from distributed import KilledWorker

        self.lost: tuple[type[Exception], ...] = (KilledWorker,)
        self._client, self._visible = client, tuple(visible)
        self._executor = client.get_executor(pure=False)
        self._threads, self._looked = 0, float("-inf")

    def workers(self) -> int:
        """The threads of the cluster's workers, which come and go; with each, a scan is worked on."""
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._threads = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self._threads

    def room(self) -> int:
        return max(_LEAST_ROOM, 2 * self.workers())

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._executor.submit(_on_worker, cov3d.__version__, self._visible, work, *arguments)

    def check(self) -> None:
        """Make sure that the workers there are fit for the work; those that come later are looked at with each call.

        Raises:
            ClusterError: one is not; the sentence says in what.
        """
        for address, found in self._client.run(_unfit, cov3d.__version__, self._visible, on_error="return").items():
            if isinstance(found, Exception):
                found = (
                    f"can't run cov3d ({type(found).__name__}: {found}): "
                    f"install cov3d {cov3d.__version__} where the workers run"
                )
            if found:
                raise ClusterError(f"the Dask worker {address} {found}")

    def close(self, *, at_once: bool) -> None:
        self._executor.shutdown(wait=not at_once)


@contextmanager
def cluster(address: str, visible: Sequence[Path]) -> Iterator[Cluster]:
    """The Dask cluster whose scheduler is at `address`, as an executor.

    When the block ends with an error, what was not begun is taken back; what was, ends as it would.

    Args:
        visible: absolute paths that every worker must see.

    Raises:
        ClusterError: Dask is not installed, the scheduler does not answer or is lost, or a worker is not fit.
    """
    with _connected(address) as client:
        connected = Cluster(client, visible)
        connected.check()
        try:
            yield connected
        except CancelledError as error:
            raise ClusterError(
                f"the Dask scheduler at {address} is gone: what was done is kept; start it again and run this again"
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
    for name in ("distributed", "distributed.client"):  # what matters of their log becomes an error of ours
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        # A client that finds no scheduler takes long to close, and does so loudly: so this is tried first.
        asyncio.run(_knock(address))
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except Exception as error:  # whatever it is that answers there
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, and give the address "
            "that it prints"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=_TIMEOUT)


async def _knock(address: str) -> None:
    from distributed.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=_TIMEOUT, **Security().get_connection_args("client"))
    await comm.close()


def _on_worker(version: str, visible: Sequence[Path], work: Callable[..., Any], *arguments: Any) -> Any:
    if wrong := _unfit(version, visible):
        raise ClusterError(f"a Dask worker {wrong}")
    _set_up_once()
    return work(*arguments)


def _unfit(version: str, visible: Sequence[Path]) -> str:
    """On a worker: what makes it unfit for the work, if anything does."""
    if version != cov3d.__version__:
        return f"has cov3d {cov3d.__version__}, but this is cov3d {version}: install the same where the workers run"
    for path in visible:
        if not path.exists():
            return (
                f"does not see {path}: scans and store must be on a file system that all machines share, "
                "under the same path"
            )
    return ""


@lru_cache
def _set_up_once() -> None:
    """Set this worker up, for good: Dask runs as many calls at once as it has threads, and has nannies trim memory."""
    set_up()
