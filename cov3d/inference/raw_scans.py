"""Raw scans → batches for the networks, preprocessed in other processes while the networks predict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cov3d.children import end_with_parent
from cov3d.errors import ScanError
from cov3d.preprocessing.pipeline import preprocess, preprocess_scan
from cov3d.preprocessing.sizes import Size
from cov3d.volume import Geometry, Volume


@dataclass(frozen=True)
class RawScan:
    """A preprocessed scan, or the error.

    Attributes:
        scan: its name.
        voxels: by size, each `uint8` of shape (1, depth, height, width).
        record: how it was preprocessed, with the columns of a store's manifest.
        error: why it can't be read; None if it can.
        preview: a picture of the scan and its crop (WebP), if requested.
        zones: the lung zone of each voxel, by size, if requested.
        geometry: where its voxels are in its file and in the patient; None if unknown.
    """

    scan: str
    voxels: dict[Size, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    preview: bytes | None = None
    zones: dict[Size, NDArray[np.uint8]] = field(default_factory=dict)
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Preparation:
    """How raw scans are preprocessed.

    Attributes:
        sizes: to resize to.
        threads: that decode slices in each process; they do not change the result.
        draw: whether to draw previews.
        find_zones: whether to find the lung zones.
    """

    sizes: Sequence[Size]
    threads: int = 1
    draw: bool = False
    find_zones: bool = False


def raw_scan_batches(
    scans: Mapping[str, Path | Volume], how: Preparation, *, jobs: int, batch_size: int
) -> Iterator[list[RawScan]]:
    """Batches of preprocessed scans, in order.

    Args:
        scans: path of each scan, or its volume, by name.
        how: they are preprocessed.
        jobs: number of processes that preprocess; 0 for this process.
        batch_size: scans per batch.

    Raises:
        ScanError: a process was killed.
    """
    batches = DataLoader(
        _RawScans(scans, how),
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


class _RawScans(Dataset[RawScan]):
    def __init__(self, scans: Mapping[str, Path | Volume], how: Preparation) -> None:
        self.scans, self.how = list(scans.items()), how

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> RawScan:
        scan, source = self.scans[index]
        how = self.how
        try:
            if isinstance(source, Volume):
                made = preprocess(source, how.sizes, draw=how.draw, find_zones=how.find_zones)
            else:
                made = preprocess_scan(source, how.sizes, threads=how.threads, draw=how.draw, find_zones=how.find_zones)
        except ScanError as error:
            return RawScan(scan, error=str(error))
        return RawScan(
            scan,
            voxels={size: torch.from_numpy(array)[None] for size, array in made.voxels.items()},
            record=made.record.without_name(),
            preview=made.preview,
            zones=made.zones,
            geometry=made.geometry,
        )


def _start_worker(worker: int) -> None:
    end_with_parent()
    threadpool_limits(1)
