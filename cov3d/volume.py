"""The canonical volume, which all readers return and all later stages use."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW_HU = (-1150.0, 350.0)
"""Hounsfield units of grey levels 0 and 255 (the window of COV19-CT-DB)."""


def hounsfield_to_grey(hounsfield: float) -> float:
    """The grey level (not rounded, not clipped) of a value in Hounsfield units."""
    low, high = WINDOW_HU
    return (hounsfield - low) * 255.0 / (high - low)


@dataclass(frozen=True)
class Volume:
    """One scan.

    Attributes:
        voxels: `uint8`, shape (depth, height, width). 0 is −1150 HU or less, 255 is 350 HU or more. Slice 0 is at
            the head, row 0 is anterior, column 0 is the patient's right.
        path: the folder or file of the scan.
        slices_found: number of slices on disk, readable or not.
        spacing: millimetres between voxels along (depth, height, width); None if the format has none (JPEG).
        notes: problems that the reader found, and what it did about them; one short phrase each.
        format: the name of the format it was read from; empty for a volume that was made in memory.
        orientation_known: whether the file says how the patient lies; else the order and direction are assumed.
        window_known: whether the file holds Hounsfield units; else its grey levels are assumed to be the window.
        missing: slices that the series lacks, by their numbers or positions.
        doubled: copies of slices that were dropped.
        corrupt: slices that are there and can't be read.
        series: which of the series of an exam was taken, without anything that names a patient; empty for the only one.
    """

    voxels: NDArray[np.uint8]
    path: Path
    slices_found: int
    spacing: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = field(default=())
    format: str = ""
    orientation_known: bool = True
    window_known: bool = True
    missing: int = 0
    doubled: int = 0
    corrupt: int = 0
    series: str = ""

    def __post_init__(self) -> None:
        if self.voxels.dtype != np.uint8 or self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise ValueError(
                "a volume must be a non-empty uint8 array with three axes, "
                f"not {self.voxels.dtype} of shape {self.voxels.shape!r}"
            )
