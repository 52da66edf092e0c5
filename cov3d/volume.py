"""The canonical volume, which all readers return and all later stages use."""

from dataclasses import dataclass, field, replace
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
class Geometry:
    """Where the voxels of a volume are in its file and in the patient.

    Attributes:
        origin: centre of the file's first voxel, mm, as (left, posterior, superior) of the patient.
        steps: mm from a voxel to the next along each axis of the file, a row an axis, the one that changes slowest
            first, in the same directions.
        order: the file's axis for each of depth, height and width.
        reversed: whether depth, height and width run against the file's axis.
    """

    origin: NDArray[np.float64]
    steps: NDArray[np.float64]
    order: tuple[int, ...] = (0, 1, 2)
    reversed: tuple[bool, ...] = (False, False, False)

    def turned(self) -> "Geometry":
        """The geometry of the volume with its slices in reverse order."""
        return replace(self, reversed=(not self.reversed[0], *self.reversed[1:]))

    def to_file(self, voxels: NDArray) -> NDArray:
        """A volume (depth, height, width) with its axes as in the file, the slowest first. A view."""
        flips = tuple(slice(None, None, -1 if turned else 1) for turned in self.reversed)
        return voxels[flips].transpose(np.argsort(self.order))

    @property
    def affine(self) -> NDArray[np.float64]:
        """Index in the file, the fastest axis first, to mm as (right, anterior, superior): NIfTI's affine, (4, 4)."""
        affine = np.eye(4)
        affine[:3, :3] = self.steps[::-1].T
        affine[:3, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

    def to_patient(self, place: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The point of the patient, mm as (right, anterior, superior), of a place in the volume.

        Args:
            place: index (depth, height, width), which may lie between voxels.
            shape: of the volume.
        """
        turned = np.where(self.reversed, np.array(shape) - 1 - place, place)
        in_file = np.empty(3)
        in_file[list(self.order)] = turned
        return (self.affine @ np.append(in_file[::-1], 1.0))[:3]


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
        geometry: where the voxels are in the file and in the patient; None if the format does not tell (JPEG).
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
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        if self.voxels.dtype != np.uint8 or self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise ValueError(
                "a volume must be a non-empty uint8 array with three axes, "
                f"not {self.voxels.dtype} of shape {self.voxels.shape!r}"
            )
