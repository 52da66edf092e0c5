"""Scan table and store → the data loaders of a fold. Never preprocesses: a missing volume is an error."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cov3d.errors import DatasetError, StoreError
from cov3d.labels import CATEGORIES, label_index
from cov3d.preprocess.store import Store


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

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._store.read(self.scans[index]))[None], torch.tensor(self.labels[index])


class EpochShuffle(Sampler[int]):
    """Another order of `count` items each time it is gone through, drawn from the seed and the number of the time."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        self.epoch += 1
        return iter(order.tolist())


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
    shuffle_seed: int | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader over a dataset; shuffled, and reproducibly so, where `shuffle_seed` is given.

    The order depends on the seed and the epoch alone. The loader has a source of chance of its own, which nothing
    uses: it would else take numbers from the one that dropout draws from, and with workers not as often.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=None if shuffle_seed is None else EpochShuffle(len(dataset), shuffle_seed),
        generator=torch.Generator(),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
