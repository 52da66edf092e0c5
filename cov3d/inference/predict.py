"""Scans, or volumes of a store, → probabilities: reflection averaging, and ensembles of checkpoints."""

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
from cov3d.inference.kept import Kept, left_to_predict, state_of
from cov3d.preprocessing.pipeline import RECORD_COLUMNS, preprocess_scan, settings
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.loaders import ScanDataset, scan_loader


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, what its checkpoint says of it, and where that is."""

    model: nn.Module
    info: CheckpointInfo
    file: Path | None = None


@dataclass
class Predictions:
    """What inference found.

    Attributes:
        table: the prediction table, sorted by scan.
        manifest: how each scan was cropped, with the columns of a store's manifest, and `doubtful`.
        failed: what is wrong with the scans that could not be read, by name.
        doubtful: why a prediction may not be worth much, by scan.
        kept: how many scans an interrupted command had predicted before.
    """

    table: pd.DataFrame
    manifest: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    kept: int = 0


def load_members(files: Sequence[Path], device: torch.device, *, fitted_temperature: bool = True) -> list[Member]:
    """The networks of several checkpoints, ready to be averaged.

    Args:
        files: the checkpoints.
        device: where to put the networks.
        fitted_temperature: whether they predict at the temperature in their checkpoints, or at 1.

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
    kept: Kept | None = None,
) -> NDArray[np.float32]:
    """Probabilities (scans, categories) of preprocessed, labelled scans (a table `scan, label`), with reflection.

    Args:
        kept: what an earlier, interrupted command predicted is taken from here, and what is predicted goes here.

    Raises:
        StoreError: a scan is not in the store.
        OutputError: `kept` can't be written.
    """
    found: dict[str, NDArray[np.float32]] = {}
    if kept is not None:
        states = {scan: state_of(store.volume_file(scan)) for scan in scans["scan"]}
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
class Outcome:
    """What became of a raw scan.

    Attributes:
        scan: its name.
        probabilities: by each member, shape (members, categories); None for a scan that can't be read.
        record: how it was preprocessed, with the columns of a store's manifest.
        error: what is wrong with it; None where it could be read.
    """

    scan: str
    probabilities: NDArray[np.float32] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def predict_each(
    scans: Mapping[str, Path],
    members: Sequence[Member],
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
) -> Iterator[Outcome]:
    """Preprocess raw scans, once for all sizes, and predict them by each member.

    Args:
        scans: paths by name.
        members: networks; the sizes of their inputs may differ.
        device: where the networks are.
        jobs: processes that preprocess while the network predicts; 0 for this one.
        threads: threads that decode slices in each of them; no result depends on them.
        batch_size: scans to a forward pass.

    Raises:
        ScanError: a process that preprocesses was killed.
    """
    sizes = sorted({member.info.size for member in members})
    for batch in _batches(_RawScans(scans, sizes, threads), jobs=jobs, batch_size=batch_size):
        readable = [item for item in batch if item.error is None]
        found: dict[str, NDArray[np.float32]] = {}
        if readable:
            stacked = {size: torch.stack([item.voxels[size] for item in readable]) for size in sizes}
            with torch.inference_mode():
                each = np.stack([_probabilities(member, stacked[member.info.size], device) for member in members])
            found = {item.scan: each[:, place] for place, item in enumerate(readable)}
        for item in batch:
            record = {"scan": item.scan, **item.record} if item.record else {}
            yield Outcome(item.scan, found.get(item.scan), record, item.error)


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
    kept: Kept | None = None,
) -> Predictions:
    """Preprocess and predict raw scans by the mean of networks.

    Args:
        scans, device, jobs, threads, batch_size: as of `predict_each`.
        members: networks to average: their probabilities for the presence, their conditional probabilities of each
            severity for the severity.
        skip_errors: go on past scans that can't be read.
        on_scan: called with the name of each scan that is done.
        kept: what an earlier, interrupted command predicted is taken from here, and what is predicted goes here.

    Raises:
        ScanError: a scan can't be read.
        OutputError: `kept` can't be written.
    """
    found: list[Outcome] = []
    if kept is not None:
        before = kept.load({scan: state_of(path) for scan, path in scans.items()}, len(members[0].info.categories))
        left = set(left_to_predict(list(scans), before, batch_size))
        found += [Outcome(scan, one.probabilities, one.record) for scan, one in before.items() if scan not in left]
        for outcome in found:
            on_scan(outcome.scan)
        scans = {scan: path for scan, path in scans.items() if scan in left}
    known = len(found)
    failed: dict[str, str] = {}
    how: dict[str, Any] = {"device": device, "jobs": min(jobs, len(scans)), "threads": threads}
    for outcome in predict_each(scans, members, batch_size=batch_size, **how) if scans else ():
        if outcome.error is None:
            found.append(outcome)
            if kept is not None and outcome.probabilities is not None:
                kept.add(outcome.scan, outcome.probabilities, outcome.record)
        elif skip_errors:
            failed[outcome.scan] = outcome.error
        else:
            raise ScanError(outcome.error)
        on_scan(outcome.scan)
    if not found:
        raise none_readable(failed)
    each = np.stack([outcome.probabilities for outcome in found if outcome.probabilities is not None], axis=1)
    table = average([outcome.scan for outcome in found], each, members[0].info.categories)
    records = [outcome.record for outcome in found]
    infos = [member.info for member in members]
    return Predictions(
        table=table.sort_values("scan", ignore_index=True),
        manifest=manifest(records, infos),
        failed=dict(sorted(failed.items())),
        doubtful=doubtful(records, infos),
        kept=known,
    )


def none_readable(failed: Mapping[str, str]) -> ScanError:
    """The error where every scan failed, by what is wrong with the first."""
    return ScanError(f"none of the {len(failed)} scans could be read; the first: {next(iter(failed.values()))}")


def manifest(records: Sequence[Mapping[str, Any]], infos: Sequence[CheckpointInfo]) -> pd.DataFrame:
    """How each scan was cropped, and why its prediction may not be worth much; sorted by scan."""
    table = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
    reasons = doubtful(records, infos)
    table["doubtful"] = [reasons.get(scan, "") for scan in table["scan"]]
    return table.sort_values("scan", ignore_index=True)


def doubtful(records: Sequence[Mapping[str, Any]], infos: Sequence[CheckpointInfo]) -> dict[str, str]:
    """Scans without lungs, and scans with less or more lung in the body than any that a member was trained on."""
    ranges = [info.lung_share for info in infos if info.lung_share is not None]
    low = max((least for least, _ in ranges), default=0.0)
    high = min((most for _, most in ranges), default=1.0)
    reasons = {}
    for record in records:
        share = record["lung_share"]
        if record["crop"] == "fallback":
            reasons[record["scan"]] = record["notes"]
        elif not low <= share <= high:
            reasons[record["scan"]] = f"lung share {share:.3f} is outside the {low:.3f} to {high:.3f} trained on"
    return reasons


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
        worker_init_fn=_start_worker,
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


def _start_worker(worker: int) -> None:
    end_with_parent()
    threadpool_limits(1)
