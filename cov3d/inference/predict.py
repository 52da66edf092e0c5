"""Predict scans, or volumes of a store: averages over reflection, and over an ensemble of checkpoints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cov3d.children import end_with_parent
from cov3d.errors import CheckpointError, ScanError
from cov3d.inference.ensemble import average
from cov3d.inference.kept import KeptPredictions, file_state, left_to_predict
from cov3d.preprocessing.pipeline import RECORD_COLUMNS, preprocess_scan, settings
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.loaders import ScanDataset, scan_loader


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, with the metadata and the path of its checkpoint."""

    model: nn.Module
    info: CheckpointInfo
    file: Path | None = None


@dataclass
class Predictions:
    """The result of inference.

    Attributes:
        table: the prediction table, sorted by scan.
        manifest: the crop of each scan, with the columns of a store's manifest, and `doubtful`.
        failed: error messages of the scans that could not be read, by name.
        doubtful: why a prediction may be unreliable, by scan.
        kept: number of scans that an interrupted command had already predicted.
    """

    table: pd.DataFrame
    manifest: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    kept: int = 0


def load_members(files: Sequence[Path], device: torch.device, *, fitted_temperature: bool = True) -> list[Member]:
    """Load the networks of several checkpoints for averaging.

    Args:
        files: the checkpoints.
        device: to load the networks to.
        fitted_temperature: whether to use the temperatures in the checkpoints; else 1.

    Raises:
        CheckpointError: a file is not a checkpoint, the categories differ, or a checkpoint needs the preprocessing of
            another version.
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
        if not fitted_temperature:
            info = replace(info, temperature=None)
        members.append(Member(model.to(device), info, file))
    return members


def predict_store(
    member: Member,
    scans: pd.DataFrame,
    store: Store,
    *,
    device: torch.device,
    workers: int = 0,
    batch_size: int = 2,
    kept: KeptPredictions | None = None,
) -> NDArray[np.float32]:
    """Probabilities (scans, categories) of preprocessed, labelled scans, averaged over reflection.

    Args:
        member: the network.
        scans: a table with the columns `scan` and `label`.
        store: the scans' preprocessed volumes.
        device: where the network is.
        workers: number of processes that load volumes.
        batch_size: scans per forward pass.
        kept: predictions of an interrupted command are taken from here, and new ones are added.

    Raises:
        StoreError: a scan is not in the store.
        OutputError: `kept` can't be written.
    """
    found: dict[str, NDArray[np.float32]] = {}
    if kept is not None:
        states = {scan: file_state(store.volume_file(scan)) for scan in scans["scan"]}
        known = kept.load(states, len(member.info.categories))
        found = {scan: one.probabilities[0] for scan, one in known.items()}
    left = scans[scans["scan"].isin(left_to_predict(list(scans["scan"]), found, batch_size))]
    if len(left):
        dataset = ScanDataset(left, store, member.info.categories)
        names = iter(left["scan"])
        with torch.inference_mode():
            for voxels, _ in scan_loader(dataset, batch_size=batch_size, workers=workers, device=device):
                for each, scan in zip(_probabilities(member, voxels, device), names, strict=False):
                    found[scan] = each
                    if kept is not None:
                        kept.add(scan, each[None], {})
    return np.stack([found[scan] for scan in scans["scan"]])


@dataclass(frozen=True)
class ScanPrediction:
    """The prediction of a raw scan, or the error.

    Attributes:
        scan: name of the scan.
        probabilities: of each member, shape (members, categories); None if the scan can't be read.
        record: how the scan was preprocessed, with the columns of a store's manifest.
        error: why the scan can't be read; None if it can.
    """

    scan: str
    probabilities: NDArray[np.float32] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def predict_each(
    scan_paths: Mapping[str, Path],
    members: Sequence[Member],
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
) -> Iterator[ScanPrediction]:
    """Preprocess raw scans once for all sizes, and predict them with each member.

    Args:
        scan_paths: path of each scan, by name.
        members: networks; their input sizes may differ.
        device: where the networks are.
        jobs: number of processes that preprocess while the network predicts; 0 for this process.
        threads: number of threads that decode slices in each process; it does not change the result.
        batch_size: scans per forward pass.

    Raises:
        ScanError: a process that preprocesses was killed.
    """
    sizes = sorted({member.info.size for member in members})
    for batch in _batches(_RawScans(scan_paths, sizes, threads), jobs=jobs, batch_size=batch_size):
        readable = [item for item in batch if item.error is None]
        found: dict[str, NDArray[np.float32]] = {}
        if readable:
            stacked = {size: torch.stack([item.voxels[size] for item in readable]) for size in sizes}
            with torch.inference_mode():
                each = np.stack([_probabilities(member, stacked[member.info.size], device) for member in members])
            found = {item.scan: each[:, place] for place, item in enumerate(readable)}
        for item in batch:
            record = {"scan": item.scan, **item.record} if item.record else {}
            yield ScanPrediction(item.scan, found.get(item.scan), record, item.error)


def predict_scans(
    scan_paths: Mapping[str, Path],
    members: Sequence[Member],
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
    skip_errors: bool = False,
    on_scan: Callable[[str], None] = lambda scan: None,
    kept: KeptPredictions | None = None,
) -> Predictions:
    """Preprocess raw scans and predict them with the mean of networks.

    Args:
        scan_paths, device, jobs, threads, batch_size: as in `predict_each`.
        members: networks to average: their probabilities for the presence, their conditional probabilities of each
            severity for the severity.
        skip_errors: skip scans that can't be read.
        on_scan: called with the name of each finished scan.
        kept: predictions of an interrupted command are taken from here, and new ones are added.

    Raises:
        ScanError: a scan can't be read.
        OutputError: `kept` can't be written.
    """
    found: list[ScanPrediction] = []
    if kept is not None:
        states = {scan: file_state(path) for scan, path in scan_paths.items()}
        before = kept.load(states, len(members[0].info.categories))
        left = set(left_to_predict(list(scan_paths), before, batch_size))
        found += [
            ScanPrediction(scan, one.probabilities, one.record) for scan, one in before.items() if scan not in left
        ]
        for prediction in found:
            on_scan(prediction.scan)
        scan_paths = {scan: path for scan, path in scan_paths.items() if scan in left}
    known = len(found)
    failed: dict[str, str] = {}
    how: dict[str, Any] = {"device": device, "jobs": min(jobs, len(scan_paths)), "threads": threads}
    for prediction in predict_each(scan_paths, members, batch_size=batch_size, **how) if scan_paths else ():
        if prediction.error is None:
            found.append(prediction)
            if kept is not None and prediction.probabilities is not None:
                kept.add(prediction.scan, prediction.probabilities, prediction.record)
        elif skip_errors:
            failed[prediction.scan] = prediction.error
        else:
            raise ScanError(prediction.error)
        on_scan(prediction.scan)
    if not found:
        raise none_readable(failed)
    each = np.stack([prediction.probabilities for prediction in found if prediction.probabilities is not None], axis=1)
    table = average([prediction.scan for prediction in found], each, members[0].info.categories)
    records = [prediction.record for prediction in found]
    infos = [member.info for member in members]
    return Predictions(
        table=table.sort_values("scan", ignore_index=True),
        manifest=manifest(records, infos),
        failed=dict(sorted(failed.items())),
        doubtful=doubtful(records, infos),
        kept=known,
    )


def none_readable(failed: Mapping[str, str]) -> ScanError:
    """The error for a call in which every scan failed; it quotes the first error."""
    return ScanError(f"none of the {len(failed)} scans can be read; the first error: {next(iter(failed.values()))}")


def manifest(records: Sequence[Mapping[str, Any]], infos: Sequence[CheckpointInfo]) -> pd.DataFrame:
    """The crop of each scan, and why its prediction may be unreliable; sorted by scan."""
    table = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
    reasons = doubtful(records, infos)
    table["doubtful"] = [reasons.get(scan, "") for scan in table["scan"]]
    return table.sort_values("scan", ignore_index=True)


def doubtful(records: Sequence[Mapping[str, Any]], infos: Sequence[CheckpointInfo]) -> dict[str, str]:
    """Reasons by scan: no lungs found, or a share of lung in the body outside the range in a member's training."""
    ranges = [info.lung_share for info in infos if info.lung_share is not None]
    low = max((least for least, _ in ranges), default=0.0)
    high = min((most for _, most in ranges), default=1.0)
    reasons = {}
    for record in records:
        share = record["lung_share"]
        if record["crop"] == "fallback":
            reasons[record["scan"]] = record["notes"]
        elif not low <= share <= high:
            reasons[record["scan"]] = f"lung share {share:.3f} is outside the training range {low:.3f} to {high:.3f}"
    return reasons


def _probabilities(member: Member, voxels: Tensor, device: torch.device) -> NDArray[np.float32]:
    volumes = to_network_input(voxels.to(device, non_blocking=True))
    temperature = member.info.temperature or 1.0
    return reflected_probabilities(member.model, volumes, temperature=temperature).cpu().numpy()


@dataclass
class _Item:
    """A preprocessed scan: its voxels by size, each (1, depth, height, width), or the error."""

    scan: str
    voxels: dict[Size, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class _RawScans(Dataset[_Item]):
    def __init__(self, scan_paths: Mapping[str, Path], sizes: Sequence[Size], threads: int) -> None:
        self.scans, self.sizes, self.threads = list(scan_paths.items()), list(sizes), threads

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
        worker_init_fn=_start_worker,
    )
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ScanError(
            "a process that preprocesses scans was killed, most often because memory or shared memory ran out: "
            "run again with fewer --jobs"
        ) from error


def _start_worker(worker: int) -> None:
    end_with_parent()
    threadpool_limits(1)
