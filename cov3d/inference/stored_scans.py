"""Preprocessed volumes of a store → batches for the networks, in place of raw scans."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from cov3d.errors import Cov3dError, StoreError
from cov3d.inference.raw_scans import RawScan
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.values import read_object


def open_store(folder: Path) -> Store:
    """Open the store in a folder, whatever its size.

    Raises:
        StoreError: there is none, or it was made by another version.
    """
    settings = folder / "settings.json"
    try:
        size = Size(str(read_object(settings)["size"]))
    except (OSError, ValueError, LookupError) as error:
        raise StoreError(
            f"{folder} is not a store of preprocessed volumes: give the folder that cov3d preprocess "
            f"made, such as preprocessed/medium ({error})"
        ) from error
    return Store.open(folder, size)


def check_size(store: Store, infos: Sequence[CheckpointInfo]) -> None:
    """Check that a store has the input size of all networks.

    Raises:
        Cov3dError: it does not.
    """
    sizes = sorted({info.size for info in infos})
    if sizes != [store.size]:
        raise Cov3dError(
            f"{store.folder} holds volumes of size {store.size}, but the checkpoints need {' and '.join(sizes)}: give "
            "the raw scans instead"
        )


def stored_scan_batches(
    store: Store, scans: Sequence[str], *, batch_size: int, threads: int = 1
) -> Iterator[list[RawScan]]:
    """Batches of volumes of a store, in order; a volume that can't be read is a scan with an error.

    Volumes are read ahead while the networks predict, as many as two batches and the threads need.
    """
    pool = ThreadPoolExecutor(threads)
    coming: deque[Future[RawScan]] = deque()
    waiting = iter(scans)
    try:
        for start in range(0, len(scans), batch_size):
            while len(coming) < 2 * batch_size + threads and (scan := next(waiting, None)) is not None:
                coming.append(pool.submit(_stored, store, scan))
            yield [coming.popleft().result() for _ in range(min(batch_size, len(scans) - start))]
    finally:
        pool.shutdown(cancel_futures=True)


def _stored(store: Store, scan: str) -> RawScan:
    try:
        voxels = torch.from_numpy(store.read(scan))[None]
        record = store.record(scan).without_name()
        return RawScan(scan, {store.size: voxels}, record, preview=store.preview(scan))
    except StoreError as error:
        return RawScan(scan, error=str(error))
