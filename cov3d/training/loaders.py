"""Data loaders of a fold, from a scan table and a store. They never preprocess: a missing volume is an error."""

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

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
"""Maximum size, in bytes, of the volumes loaded ahead for the network of a process."""


@dataclass(frozen=True)
class Fold:
    """The labelled scans for training and for validation, each a table with the columns `scan` and `label`.

    Attributes:
        train: scans to train on.
        validation: scans to validate on.
        is_synthetic: whether they are phantoms; None if unknown.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    is_synthetic: bool | None = None


class ScanDataset(Dataset[tuple[Tensor, Tensor]]):
    """Scans of a store with their labels.

    An item is a volume (`uint8`, (1, depth, height, width)) and a label index. Volumes are converted on the device, as
    `uint8` needs a quarter of the bytes to copy.
    """

    def __init__(self, scans: pd.DataFrame, store: Store, categories: Sequence[str] = CATEGORIES) -> None:
        self.scan_names = list(scans["scan"])
        self.labels = [label_index(label, categories) for label in scans["label"]]
        self._store = store

    def __len__(self) -> int:
        return len(self.scan_names)

    @property
    def item_bytes(self) -> int:
        """The size of a volume in bytes."""
        return prod(self._store.size.shape)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._store.read(self.scan_names[index]))[None], torch.tensor(self.labels[index])


class EpochShuffle(Sampler[int]):
    """The items of this process in an epoch, in random order, which depends on the seed and the epoch.

    With `n` processes, each takes every `n`-th item. So a step of all processes together sees the same items as a step
    of one process with `n` times the batch size. All processes must take the same number of steps: if the items can't
    be divided evenly, the first items are used twice.

    Attributes:
        epoch: number of the next epoch, from 0. Each iteration increases it.
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
    """Split labelled scans: fold `fold` for validation, the other folds for training.

    Raises:
        DatasetError: no scan is in the fold, or no scan remains for training.
    """
    labelled = table[table["fold"].notna() & (table["label"] != "")]
    if labelled.empty:
        raise DatasetError("no scan in the scan table has a label and a fold: training needs labelled scans in folds")
    validation = labelled[labelled["fold"] == fold]
    train = labelled[labelled["fold"] != fold]
    if validation.empty:
        folds = ", ".join(str(number) for number in sorted(labelled["fold"].unique()))
        raise DatasetError(f"no scan is in fold {fold}: the scan table has the folds {folds}")
    if train.empty:
        raise DatasetError(f"all labelled scans are in fold {fold}: no scan remains for training")
    columns = ["scan", "label"]
    return Fold(train=train[columns].reset_index(drop=True), validation=validation[columns].reset_index(drop=True))


def check_preprocessed(scan_names: Sequence[str], store: Store) -> None:
    """Check that every scan is complete in the store.

    Only the lengths of the files are checked. Other damage is found by a checksum when the volume is read.

    Raises:
        StoreError: a scan is missing, or its file is incomplete.
    """
    missing = [scan for scan in scan_names if not store.has(scan)]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(scan_names)} scans are missing or incomplete in {store.folder} (the first is "
            f"{missing[0]}): run cov3d preprocess --size {store.size} first, and remove scans that can't be read from "
            "the scan table"
        )


class ScanLoader(DataLoader[tuple[Tensor, Tensor]]):
    """A loader whose processes can begin before its batches are needed."""

    _begun: Any = None

    def begin(self) -> None:
        """Let the processes load their first batches; without processes, do nothing."""
        if self.num_workers and self._begun is None:
            self._begun = super().__iter__()

    def __iter__(self) -> Any:
        begun, self._begun = self._begun, None
        return super().__iter__() if begun is None else begun


def scan_loader(
    dataset: ScanDataset,
    *,
    batch_size: int,
    workers: int,
    device: torch.device,
    sampler: Iterable[int] | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader over a dataset, in the order of `sampler`, or else of the dataset.

    The loader gets its own, otherwise unused random generator. Without it, it would draw from the generator that
    dropout uses, and how often depends on the number of workers.
    """
    return ScanLoader(
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
    """Number of batches that each worker loads ahead: enough for a slow read, within a fixed share of the memory."""
    batch = batch_size * dataset.item_bytes
    room = min(_READY, _shared_memory() // 2)
    return max(2, min(8, room // (batch * workers)))


def _shared_memory() -> int:
    """Free bytes of the shared memory through which workers pass volumes."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:  # not Linux
        return _READY


@contextmanager
def shared_memory_explained() -> Iterator[None]:
    """Turn errors for lack of shared memory, of which containers have little, into one sentence.

    Raises:
        DeviceMemoryError: a worker could not pass its volumes on.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error).lower()
        if "dataloader worker" not in message or not any(word in message for word in ("shared memory", "shm", "bus")):
            raise
        raise DeviceMemoryError(
            f"processes that load volumes ran out of shared memory (/dev/shm has {_shared_memory() / 1e6:.0f} MB "
            "free): give --workers 0, or more shared memory (docker run --ipc=host, or --shm-size)"
        ) from error


def _start_worker(worker: int) -> None:
    end_with_parent()
    # A terminal and a batch system send signals to every process. Only the parent reports them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent ends its workers with SIGTERM, too. Exit with 0, or torch reports an error.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
