"""Scan table and store → the data loaders of a fold. Never preprocesses: a missing volume is an error."""

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cov3d.children import end_with_parent
from cov3d.errors import DatasetError, DeviceMemoryError, StoreError
from cov3d.labels import CATEGORIES, label_index
from cov3d.preprocessing.store import Store
from cov3d.training.distributed import ALONE, World

_READY = 2 * 1024**3
"""Bytes of volumes that may wait for a process's network."""


@dataclass(frozen=True)
class Fold:
    """The labelled scans that a run trains on and those it is validated on, each a table `scan, label`."""

    train: pd.DataFrame
    validation: pd.DataFrame


class ScanDataset(Dataset[tuple[Tensor, Tensor]]):
    """Scans of a store with their labels.

    An item is a volume (`uint8`, (1, depth, height, width)) and a label index. Volumes stay `uint8` until they are
    on the device: a quarter of the bytes to move.
    """

    def __init__(self, scans: pd.DataFrame, store: Store, categories: Sequence[str] = CATEGORIES) -> None:
        self.scans = list(scans["scan"])
        self.labels = [label_index(label, categories) for label in scans["label"]]
        self._store = store

    def __len__(self) -> int:
        return len(self.scans)

    @property
    def item_bytes(self) -> int:
        """The size of a volume."""
        return prod(self._store.size.shape)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._store.read(self.scans[index]))[None], torch.tensor(self.labels[index])


class EpochShuffle(Sampler[int]):
    """This process's items of an epoch: another order each time, drawn from the seed and the epoch's number.

    Of several processes each takes every so-manyth item, so that a step of all of them together sees the items that
    one process would see with as many times the batch. Where they do not come out even, the first items come twice:
    each process must take as many steps as the others.

    Attributes:
        epoch: the number of the next epoch, from 0; one more each time it is gone through.
    """

    def __init__(self, count: int, seed: int, world: World = ALONE) -> None:
        self.count, self.seed, self.world, self.epoch = count, seed, world, 0

    def __len__(self) -> int:
        return ceil(self.count / self.world.size)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        self.epoch += 1
        return iter(np.resize(order, len(self) * self.world.size)[self.world.rank :: self.world.size].tolist())


def choose_fold(table: pd.DataFrame, fold: int) -> Fold:
    """Fold `fold` for validation, the other folds for training.

    Raises:
        DatasetError: no scan is in the fold, or none is left to train on.
    """
    labelled = table[table["fold"].notna() & (table["label"] != "")]
    if labelled.empty:
        raise DatasetError("no scan in the scan table has a label and a fold: there is nothing to train on")
    validation = labelled[labelled["fold"] == fold]
    train = labelled[labelled["fold"] != fold]
    if validation.empty:
        folds = ", ".join(str(number) for number in sorted(labelled["fold"].unique()))
        raise DatasetError(f"no scan is in fold {fold}: the scan table has the folds {folds}")
    if train.empty:
        raise DatasetError(f"all labelled scans are in fold {fold}: none is left to train on")
    columns = ["scan", "label"]
    return Fold(train=train[columns].reset_index(drop=True), validation=validation[columns].reset_index(drop=True))


def check_preprocessed(scans: Sequence[str], store: Store) -> None:
    """Make sure that every scan is in the store, whole, before work begins that needs it.

    The files' lengths tell; what a checksum alone would is said when the volume is read.

    Raises:
        StoreError: one is not, or its file was cut short.
    """
    missing = [scan for scan in scans if not store.has(scan)]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(scans)} scans are not whole in {store.folder} (the first is {missing[0]}): "
            f"run cov3d preprocess --size {store.size} first, and take scans that can't be read out of the scan table"
        )


def scan_loader(
    dataset: ScanDataset,
    *,
    batch_size: int,
    workers: int,
    device: torch.device,
    sampler: Iterable[int] | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader over a dataset, in the order of `sampler`, or else of the dataset.

    The loader has a source of chance of its own, which nothing uses: it would else take numbers from the one that
    dropout draws from, and with workers not as often.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        generator=torch.Generator(),
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=_prefetch(dataset, batch_size, workers) if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
    )


def _prefetch(dataset: ScanDataset, batch_size: int, workers: int) -> int:
    """Batches that each worker has ready: as many as bridge a slow read, within a fixed share of the memory."""
    batch = batch_size * dataset.item_bytes
    room = min(_READY, _shared_memory() // 2)
    return max(2, min(8, room // (batch * workers)))


def _shared_memory() -> int:
    """Free bytes of the memory through which workers hand over volumes."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:  # not Linux
        return _READY


@contextmanager
def shared_memory_explained() -> Iterator[None]:
    """Turn the end of shared memory, of which containers have little, into one sentence.

    Raises:
        DeviceMemoryError: a worker could not hand its volumes over.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if "DataLoader worker" not in said or not any(word in said.lower() for word in ("shared memory", "shm", "bus")):
            raise
        raise DeviceMemoryError(
            f"processes that load volumes ran out of shared memory (/dev/shm has {_shared_memory() / 1e6:.0f} MB "
            "free): give --workers 0, or more of it (docker run --ipc=host, or --shm-size)"
        ) from error


def _start_worker(worker: int) -> None:
    end_with_parent()
    # A terminal and a batch system send them to every process; the parent says why it ends, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent ends its workers so, too. Without an error, of which torch's watch over them would make one.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
