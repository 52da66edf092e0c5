"""Predict scans, or volumes of a store: averages over reflection, and over an ensemble of checkpoints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from cov3d.errors import CheckpointError, ScanError
from cov3d.inference.ensemble import average
from cov3d.inference.explanation import Explanation, ScanViews, explain, watching
from cov3d.inference.kept import KeptPredictions, file_state, left_to_predict
from cov3d.inference.raw_scans import Preparation, RawScan, raw_scan_batches
from cov3d.preprocessing.pipeline import RECORD_COLUMNS, settings
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.loaders import ScanDataset, scan_loader
from cov3d.volume import Geometry, Volume

_DROPOUT = (_DropoutNd, nn.AlphaDropout)


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
class Extras:
    """What to compute beside the probabilities.

    Attributes:
        draw: previews of the scans and their crops.
        explain: what spoke for each prediction.
        dropout_passes: number of predictions with dropout on, from which a spread is computed; 0 for none.
    """

    draw: bool = False
    explain: bool = False
    dropout_passes: int = 0


@dataclass(frozen=True)
class ScanPrediction:
    """The prediction of a raw scan, or the error.

    Attributes:
        scan: name of the scan.
        probabilities: of each member, shape (members, categories); None if the scan can't be read.
        record: how the scan was preprocessed, with the columns of a store's manifest.
        error: why the scan can't be read; None if it can.
        preview: a picture of the scan and its crop (WebP), if requested.
        geometry: where its voxels are in its file and in the patient; None if unknown.
        explanation: what spoke for the prediction, if requested.
        dropout_presence: probability of COVID-19 of each pass with dropout on, shape (passes,), if requested.
    """

    scan: str
    probabilities: NDArray[np.float32] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    preview: bytes | None = None
    geometry: Geometry | None = None
    explanation: Explanation | None = None
    dropout_presence: NDArray[np.float32] | None = None


def predict_each(
    scan_paths: Mapping[str, Path | Volume],
    members: Sequence[Member],
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
    amp: str | None = None,
    extras: Extras = Extras(),
) -> Iterator[ScanPrediction]:
    """Preprocess raw scans once for all sizes, and predict them with each member.

    Args:
        scan_paths: path of each scan, or its volume, by name.
        members: networks; their input sizes may differ.
        device: where the networks are.
        jobs: number of processes that preprocess while the network predicts; 0 for this process.
        threads: number of threads that decode slices in each process; it does not change the result.
        batch_size: scans per forward pass.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
        extras: what to compute beside the probabilities.

    Raises:
        ScanError: a process that preprocesses was killed.
    """
    ensemble = _Ensemble(members, device, amp)
    sizes = sorted({member.info.size for member in members})
    how = Preparation(sizes, threads, draw=extras.draw, find_zones=extras.explain)
    for batch in raw_scan_batches(scan_paths, how, jobs=jobs, batch_size=batch_size):
        found = ensemble.predict([item for item in batch if item.error is None], extras)
        for item in batch:
            if item.error is None:
                yield next(found)
            else:
                yield ScanPrediction(item.scan, error=item.error)


@dataclass(frozen=True)
class _Ensemble:
    """Networks on a device."""

    members: Sequence[Member]
    device: torch.device
    amp: str | None

    def predict(self, batch: Sequence[RawScan], extras: Extras) -> Iterator[ScanPrediction]:
        """The predictions of a batch, in order."""
        if not batch:
            return
        with watching(self.members) if extras.explain else nullcontext() as views:
            each = self.probabilities({size: torch.stack([item.voxels[size] for item in batch]) for size in self.sizes})
            seen = views(len(batch)) if views is not None else []
        for number, item in enumerate(batch):
            alone = {size: item.voxels[size][None] for size in self.sizes}
            yield ScanPrediction(
                item.scan,
                each[:, number],
                {"scan": item.scan, **item.record},
                preview=item.preview,
                geometry=item.geometry,
                explanation=self._explained(item, each[:, number], seen[number]) if seen else None,
                dropout_presence=self._with_dropout(alone, extras.dropout_passes) if extras.dropout_passes else None,
            )

    @property
    def sizes(self) -> list[Size]:
        """The sizes of the networks' inputs."""
        return sorted({member.info.size for member in self.members})

    def probabilities(self, voxels: Mapping[Size, Tensor]) -> NDArray[np.float32]:
        """Of a batch, by size: shape (members, scans, categories)."""
        with torch.inference_mode():
            return np.stack(
                [_probabilities(member, voxels[member.info.size], self.device, self.amp) for member in self.members]
            )

    def _explained(self, item: RawScan, probabilities: NDArray[np.float32], seen: ScanViews) -> Explanation:
        def predict(voxels: Mapping[Size, Tensor]) -> NDArray[np.float32]:
            return self.probabilities({size: one[None] for size, one in voxels.items()})[:, 0]

        return explain(seen, self.members, item.voxels, item.zones, probabilities, predict)

    def _with_dropout(self, voxels: Mapping[Size, Tensor], passes: int) -> NDArray[np.float32]:
        """Probability of COVID-19 in each pass. The same scan gives the same passes, whatever is predicted beside it."""
        with (
            torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []),
            dropout_on(self.members),
        ):
            torch.manual_seed(0)
            return np.stack([1.0 - self.probabilities(voxels)[:, 0, 0].mean() for _ in range(passes)])


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


def _probabilities(member: Member, voxels: Tensor, device: torch.device, amp: str | None = None) -> NDArray[np.float32]:
    volumes = to_network_input(voxels.to(device, non_blocking=True))
    temperature = member.info.temperature or 1.0
    dtype = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        return reflected_probabilities(member.model, volumes, temperature=temperature).cpu().numpy()


@contextmanager
def dropout_on(members: Sequence[Member]) -> Iterator[None]:
    """Switch the dropout of networks on in the block; everything else stays in evaluation mode."""
    layers = [module for member in members for module in member.model.modules() if isinstance(module, _DROPOUT)]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
