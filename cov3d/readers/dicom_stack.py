"""A stack of DICOM slices: the slices of one volume, sorted by position."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.readers.dicom_slice import Slice
from cov3d.readers.kernels import SHARP, sharpness
from cov3d.readers.words import counted

SAME_PLACE = 0.1
"""Slices nearer than this share of the distance between slices are at one position."""

_AXIAL_DEGREES = 35.0
_DERIVED = ("DERIVED", "SECONDARY", "MIP", "MINIP", "MPR", "AVERAGE", "PROJECTION IMAGE", "REFORMATTED")


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one volume, sorted along `normal` where their positions are known.

    Attributes:
        slices: the slices. Slices at one position are copies of each other, or the stack is ambiguous.
        normal: unit vector across the slices, (left, posterior, superior).
        overlapping: number of slices dropped where two acquisitions that were joined overlap.
    """

    slices: tuple[Slice, ...]
    normal: NDArray[np.float64]
    overlapping: int = 0

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """The places of the slices along the normal, mm; empty if unknown."""
        if not all(one.position for one in self.slices):
            return np.empty(0)
        return np.array([one.position for one in self.slices]) @ self.normal

    @cached_property
    def step(self) -> float:
        """The usual distance between slices, mm; 0 if unknown."""
        apart = np.diff(np.unique(np.round(self.places, 3)))
        return float(np.median(apart)) if len(apart) else self.slices[0].between or self.slices[0].thickness

    @property
    def length(self) -> float:
        """From the first slice to the last, mm."""
        return float(np.ptp(self.places)) if len(self.places) else self.step * (len(self.slices) - 1)

    @property
    def thickness(self) -> float:
        """The distance between slices, or their thickness where it is greater, mm."""
        return max(self.step, self.slices[0].thickness)

    @property
    def is_axial(self) -> bool:
        """Whether the slices are axial rather than coronal, sagittal or oblique."""
        return abs(float(self.normal[2])) > np.cos(np.radians(_AXIAL_DEGREES))

    @property
    def is_derived(self) -> bool:
        """Whether the slices are reformats or projections."""
        return any(word in _DERIVED for word in self.slices[0].image_type)

    @property
    def files(self) -> list[Path]:
        """The files of the slices."""
        return sorted({one.file for one in self.slices}, key=natural)

    @property
    def crowd(self) -> int:
        """The largest number of slices at one position."""
        together = most = 1
        for distance in np.diff(self.places):
            together = together + 1 if distance < SAME_PLACE * max(self.step, 0.01) else 1
            most = max(most, together)
        return most

    def in_words(self) -> str:
        """A description without any word of the header, which could name a patient."""
        axial = "axial" if self.is_axial else "not axial"
        sharp = "sharp" if sharpness(self.slices[0].kernel) >= SHARP else "soft or medium"
        derived = ", derived" if self.is_derived else ""
        step = f" every {self.step:g} mm" if self.step and len(self.slices) > 1 else ""
        return f"{counted(len(self.slices), f'{axial} slice')}{step}, {sharp} kernel{derived}"


@lru_cache(maxsize=100_000)
def natural(file: Path) -> tuple[tuple[int, str], ...]:
    """A key that sorts IM2 before IM10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(file)))


def stack_of(slices: Sequence[Slice]) -> Stack:
    """A stack of slices of one orientation, sorted by position, then by file."""
    directions = slices[0].directions or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    normal = np.cross(directions[:3], directions[3:])
    normal /= np.linalg.norm(normal)
    by_file = sorted(_with_good_positions(slices), key=lambda one: (natural(one.file), one.frame))
    if by_file[0].position:
        by_file.sort(key=lambda one: round(float(np.dot(one.position, normal)), 3))
    return Stack(tuple(by_file), normal)


def _with_good_positions(slices: Sequence[Slice]) -> Sequence[Slice]:
    """The slices; without their positions where all have the same one and different slice locations."""
    locations = {one.location for one in slices if one.location is not None}
    if len(slices) > 1 and len({one.position for one in slices}) == 1 and len(locations) == len(slices):
        return [replace(one, position=()) for one in slices]
    return slices
