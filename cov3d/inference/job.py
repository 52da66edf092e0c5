"""One call of `infer`: which scans, which networks, how; on this machine, from a store, or on a cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import cov3d
from cov3d.files import sha256
from cov3d.inference import networks
from cov3d.inference.kept import KeptPredictions, file_state
from cov3d.inference.networks import NO_EXTRAS, Extras, Networks, ScanPrediction
from cov3d.inference.predict import Predictions, Source, collected, none_readable, predict_each, predict_scans
from cov3d.inference.shares import ALL, Share
from cov3d.inference.stored_scans import stored_scan_batches
from cov3d.preprocessing.store import Store
from cov3d.processors import spread_over
from cov3d.training.checkpoint import CheckpointInfo


@dataclass(frozen=True)
class Job:
    """Scans to predict, and how.

    Attributes:
        scans: path of each scan by name: the scan's own, or its volume in the store.
        checkpoints: files of the networks.
        infos: their metadata.
        device: to predict on.
        store: where the volumes are; None for raw scans.
        extras: what to compute beside the probabilities.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
        batch_size: scans per forward pass.
        processors: that preprocess.
        skip_errors: whether to skip scans that can't be read.
        share: of the scans.
        dask: address of a scheduler whose workers predict; None for this machine.
    """

    scans: Mapping[str, Path]
    checkpoints: Sequence[Path]
    infos: Sequence[CheckpointInfo]
    device: torch.device
    store: Store | None = None
    extras: Extras = NO_EXTRAS
    amp: str | None = None
    batch_size: int = 2
    processors: int = 1
    skip_errors: bool = False
    share: Share = ALL
    dask: str | None = None

    @property
    def own_scans(self) -> dict[str, Path]:
        """The scans of this share."""
        return {scan: self.scans[scan] for scan in self.share.select(list(self.scans), self.batch_size)}

    def facts(self) -> dict[str, Any]:
        """What the predictions depend on beside the scans, for `prediction.json`."""
        return {
            "cov3d": cov3d.__version__,
            "checkpoints": [
                {
                    "file": file.name,
                    "sha256": sha256(file) if file.is_file() else None,
                    "task": info.task,
                    "fold": info.fold,
                    "epoch": info.epoch,
                    "score": None if info.score != info.score else info.score,
                    "temperature": info.temperature or 1.0,
                }
                for file, info in zip(self.checkpoints, self.infos, strict=True)
            ],
            "precision": self.amp or "fp32",
            "device": self.device.type,
            "batch_size": self.batch_size,
            "dropout_passes": self.extras.dropout_passes,
        }

    def kept_in(self, folder: Path) -> KeptPredictions:
        """The predictions that an earlier call of this job kept in a folder of results."""
        how = f"{self.amp} {asdict(self.extras)} {self.batch_size}"
        share = "" if self.share.is_all else f"-{self.share.number}-of-{self.share.n_shares}"
        return KeptPredictions(folder, [file for file in self.checkpoints if file.is_file()], how, share)

    @contextmanager
    def source(self) -> Iterator[Source]:
        """Load the networks, or connect to the cluster.

        Raises:
            CheckpointError: a checkpoint can't be used.
            ClusterError: the cluster can't be used.
            Cov3dError: dropout passes are requested of a network without dropout.
        """
        if self.dask is not None:
            from cov3d.inference.on_cluster import cluster_source

            device = self.device.type
            with cluster_source(self.dask, self.checkpoints, self.extras, self.amp, device, self.batch_size) as source:
                yield source
            return
        loaded = Networks(networks.load_members(self.checkpoints, self.device, amp=self.amp), self.device, self.amp)
        if self.extras.dropout_passes:
            loaded.check_dropout()

        def on_this_machine(scans: Mapping[str, Path]) -> Iterator[ScanPrediction]:
            if self.store is not None:
                batches = stored_scan_batches(
                    self.store, list(scans), batch_size=self.batch_size, threads=self.processors
                )
                return loaded.predict_batches(batches, self.extras)
            spread = spread_over(self.processors, len(scans))
            return predict_each(scans, loaded, **spread, batch_size=self.batch_size, extras=self.extras)

        yield on_this_machine

    def run(
        self,
        source: Source,
        kept: KeptPredictions | None,
        on_scan: Callable[[ScanPrediction | None], None],
    ) -> Predictions:
        """Predict the scans of this share; see `predict_scans`."""
        return predict_scans(
            self.own_scans,
            self.infos,
            source,
            batch_size=self.batch_size,
            skip_errors=self.skip_errors,
            on_scan=on_scan,
            kept=kept,
        )

    def merged(self, kept: KeptPredictions) -> Predictions | None:
        """The predictions of all shares; None if a scan is not predicted yet."""
        states = {scan: file_state(path) for scan, path in self.scans.items()}
        found = kept.load(states, len(self.infos[0].categories))
        failed = {scan: error for scan, error in kept.failures().items() if scan not in found}
        if len(found) + len(failed) < len(self.scans):
            return None
        if not found:
            raise none_readable(failed)
        return collected(found, self.infos, failed)
