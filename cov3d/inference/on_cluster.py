"""Predictions by the workers of a Dask cluster. Each loads the networks once and predicts batches of scans."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock

from cov3d.errors import ScanError
from cov3d.inference.networks import Extras, Networks, ScanPrediction, load_members
from cov3d.inference.predict import Source
from cov3d.inference.raw_scans import Preparation, raw_scan_batches
from cov3d.preprocessing.cluster import cluster
from cov3d.training.device import choose_device

_ONE_AT_A_TIME = Lock()


@contextmanager
def cluster_source(
    address: str, checkpoints: Sequence[Path], extras: Extras, amp: str | None, device: str, batch_size: int
) -> Iterator[Source]:
    """A source of predictions on a cluster; see `predict.Source`.

    Args:
        address: of the scheduler.
        checkpoints: of the networks; every worker must see them and the scans under the same paths.
        extras: what to compute beside the probabilities.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
        device: type of the workers' device, `cpu` or `cuda`.
        batch_size: scans per forward pass.

    Raises:
        ClusterError: the cluster can't be reached, or its workers can't do the work.
    """
    files = tuple(file.absolute() for file in checkpoints)
    with cluster(address, visible=files) as executor:

        def source(scans: Mapping[str, Path]) -> Iterator[ScanPrediction]:
            items = [(scan, path.absolute()) for scan, path in scans.items()]
            waiting: deque[Future[list[ScanPrediction]]] = deque()
            for start in range(0, len(items), batch_size):
                if len(waiting) >= executor.room():
                    yield from _result(waiting.popleft(), executor.lost)
                batch = dict(items[start : start + batch_size])
                waiting.append(executor.submit(_predict_batch, batch, files, extras, amp, device))
            while waiting:
                yield from _result(waiting.popleft(), executor.lost)

        yield source


def _result(future: "Future[list[ScanPrediction]]", lost: tuple[type[Exception], ...]) -> list[ScanPrediction]:
    try:
        return future.result()
    except lost as error:
        raise ScanError(
            "a Dask worker was killed, most often because memory ran out: give the workers more memory, or fewer "
            "threads; the same command continues"
        ) from error


def _predict_batch(
    batch: Mapping[str, Path], files: tuple[Path, ...], extras: Extras, amp: str | None, device: str
) -> list[ScanPrediction]:
    """Runs on a worker, whose threads share the networks: they preprocess at once, and predict one after another."""
    with _ONE_AT_A_TIME:
        networks = _networks(files, amp, device)
    how = Preparation(networks.sizes, draw=extras.draw, find_zones=extras.explain)
    prepared = list(raw_scan_batches(batch, how, jobs=0, batch_size=len(batch)))
    with _ONE_AT_A_TIME:
        return list(networks.predict_batches(prepared, extras))


@lru_cache(maxsize=1)
def _networks(files: tuple[Path, ...], amp: str | None, device: str) -> Networks:
    target = choose_device(device)
    return Networks(load_members(files, target, amp=amp), target, amp)
