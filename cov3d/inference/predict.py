"""Scans, or volumes of a store, → probabilities: reflection averaging, and ensembles of checkpoints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cov3d.errors import CheckpointError, ScanError
from cov3d.inference.ensemble import average
from cov3d.preprocess.pipeline import RECORD_COLUMNS, preprocess_scan, settings
from cov3d.preprocess.sizes import Size
from cov3d.preprocess.store import Store
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.loaders import ScanDataset, scan_loader


@dataclass(frozen=True)
class Member:
    """A network of an ensemble and what its checkpoint says of it."""

    model: nn.Module
    info: CheckpointInfo


@dataclass
class Predictions:
    """What inference found.

    Attributes:
        table: the prediction table, sorted by scan.
        manifest: how each scan was cropped, with the columns of a store's manifest, and `doubtful`.
        failed: what is wrong with the scans that could not be read, by name.
        doubtful: why a prediction may not be worth much, by scan.
    """

    table: pd.DataFrame
    manifest: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)


def load_members(files: Sequence[Path], device: torch.device) -> list[Member]:
    """The networks of several checkpoints, ready to be averaged.

    Raises:
        CheckpointError: a file is no checkpoint, they differ in their categories, or one was made with a
            preprocessing that this version does not do.
    """
    members: list[Member] = []
    for file in files:
        model, info = checkpoint.load(file)
        if info.preprocessing.get("hash") != settings(info.size)["hash"]:
            raise CheckpointError(
                f"{file} was trained on scans preprocessed by another version of cov3d "
                f"({info.versions.get('cov3d', 'unknown')}): predict with that version, or train again"
            )
        if members and info.categories != members[0].info.categories:
            raise CheckpointError(
                f"{file} has the categories {', '.join(info.categories)}, but {files[0]} has "
                f"{', '.join(members[0].info.categories)}: they can't be averaged"
            )
        members.append(Member(model.to(device), info))
    return members


def predict_store(
    member: Member, scans: pd.DataFrame, store: Store, *, device: torch.device, workers: int = 0, batch_size: int = 2
) -> NDArray[np.float32]:
    """Probabilities (scans, categories) of preprocessed, labelled scans (a table `scan, label`), with reflection.

    Raises:
        StoreError: a scan is not in the store.
    """
    dataset = ScanDataset(scans, store, member.info.categories)
    batches = scan_loader(dataset, batch_size=batch_size, workers=workers, device=device)
    with torch.inference_mode():
        found = [_probabilities(member, voxels, device) for voxels, _ in batches]
    return np.concatenate(found)


def predict_scans(
    scans: Mapping[str, Path],
    members: Sequence[Member],
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
    skip_errors: bool = False,
    on_scan: Callable[[str], None] = lambda scan: None,
) -> Predictions:
    """Preprocess and predict raw scans.

    Args:
        scans: paths by name.
        members: networks to average: their probabilities for the presence, their conditional probabilities of each
            severity for the severity.
        device: where the networks are.
        jobs: processes that preprocess while the network predicts; 0 for this one.
        threads: threads that decode slices in each of them; no result depends on them.
        batch_size: scans to a forward pass.
        skip_errors: go on past scans that can't be read.
        on_scan: called with the name of each scan that is done.

    Raises:
        ScanError: a scan can't be read.
    """
    sizes = sorted({member.info.size for member in members})
    names: list[str] = []
    records: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for batch in _batches(_RawScans(scans, sizes, threads), jobs=jobs, batch_size=batch_size):
            readable = [item for item in batch if item.error is None]
            for item in batch:
                if item.error is not None and not skip_errors:
                    raise ScanError(item.error)
                if item.error is not None:
                    failed[item.scan] = item.error
            if readable:
                stacked = {size: torch.stack([item.voxels[size] for item in readable]) for size in sizes}
                found.append(
                    np.stack([_probabilities(member, stacked[member.info.size], device) for member in members])
                )
                names += [item.scan for item in readable]
                records += [{"scan": item.scan, **item.record} for item in readable]
            for item in batch:
                on_scan(item.scan)
    if not found:
        raise ScanError(f"none of the {len(failed)} scans could be read; the first: {next(iter(failed.values()))}")
    return _predictions(names, np.concatenate(found, axis=1), records, failed, members)


def _predictions(
    names: list[str],
    probabilities: NDArray[np.float32],
    records: list[dict[str, Any]],
    failed: dict[str, str],
    members: Sequence[Member],
) -> Predictions:
    """Average over the members; `probabilities` has shape (members, scans, categories)."""
    table = average(names, probabilities, members[0].info.categories)
    doubtful = _doubtful(records, members)
    manifest = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
    manifest["doubtful"] = [doubtful.get(scan, "") for scan in manifest["scan"]]
    return Predictions(
        table=table.sort_values("scan", ignore_index=True),
        manifest=manifest.sort_values("scan", ignore_index=True),
        failed=dict(sorted(failed.items())),
        doubtful=doubtful,
    )


def _doubtful(records: list[dict[str, Any]], members: Sequence[Member]) -> dict[str, str]:
    """Scans without lungs, and scans with less or more lung in the body than any that a member was trained on."""
    ranges = [member.info.lung_share for member in members if member.info.lung_share is not None]
    low = max((least for least, _ in ranges), default=0.0)
    high = min((most for _, most in ranges), default=1.0)
    doubtful = {}
    for record in records:
        share = record["lung_share"]
        if record["crop"] == "fallback":
            doubtful[record["scan"]] = record["notes"]
        elif not low <= share <= high:
            doubtful[record["scan"]] = f"lung share {share:.3f} is outside the {low:.3f} to {high:.3f} trained on"
    return doubtful


def _probabilities(member: Member, voxels: Tensor, device: torch.device) -> NDArray[np.float32]:
    volumes = to_network_input(voxels.to(device, non_blocking=True))
    temperature = member.info.temperature or 1.0
    return reflected_probabilities(member.model, volumes, temperature=temperature).cpu().numpy()


@dataclass
class _Item:
    """A scan on its way to the network: its voxels by size, each (1, depth, height, width), or what is wrong."""

    scan: str
    voxels: dict[Size, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class _RawScans(Dataset[_Item]):
    def __init__(self, scans: Mapping[str, Path], sizes: Sequence[Size], threads: int) -> None:
        self.scans, self.sizes, self.threads = list(scans.items()), list(sizes), threads

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> _Item:
        scan, path = self.scans[index]
        try:
            preprocessed = preprocess_scan(path, self.sizes, threads=self.threads)
        except ScanError as error:
            return _Item(scan, error=str(error))
        voxels = {size: torch.from_numpy(array)[None] for size, array in preprocessed.voxels.items()}
        return _Item(scan, voxels, preprocessed.record)


def _batches(scans: _RawScans, *, jobs: int, batch_size: int) -> Iterator[list[_Item]]:
    batches = DataLoader(
        scans,
        batch_size=batch_size,
        num_workers=jobs,
        collate_fn=list,
        worker_init_fn=_single_thread,
    )
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ScanError(
            "a process that preprocesses scans was killed, most often for want of memory or of shared memory: "
            "run again with fewer --jobs"
        ) from error


def _single_thread(worker: int) -> None:
    threadpool_limits(1)
