"""DICOM files → series, and the one of an exam that is taken.

A series of DICOM is often more than one stack of slices: two kernels, a localizer or several phases share one UID. So
slices are grouped by series, orientation, size and kernel, then split by phase where several lie at one position.

One stack of an exam (a study) is taken, by this rule, in this order:
1. axial before oblique, coronal and sagittal;
2. at least three quarters as long as the longest;
3. original before derived (reformats, projections);
4. thinner slices;
5. the sharper kernel;
6. more slices, then the first by name.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.readers.dicom_slice import Slice
from cov3d.readers.kernels import SHARP, sharpness

SAME_PLACE = 0.1
"""Slices nearer than this share of the distance between slices are at one position."""

_TURNED = 0.02
_AXIAL_DEGREES = 35.0
_LONG = 0.75
_SAME_THICKNESS = 1.1
_DERIVED = ("DERIVED", "SECONDARY", "MIP", "MINIP", "MPR", "AVERAGE", "PROJECTION IMAGE", "REFORMATTED")


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices that make up one volume, sorted along `normal` where their positions are known.

    Attributes:
        slices: the slices; those at one position are copies of each other, or the stack is ambiguous.
        normal: unit vector across the slices, (left, posterior, superior).
    """

    slices: tuple[Slice, ...]
    normal: NDArray[np.float64]

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Where the slices are along the normal, mm; empty where that is not known."""
        if not all(one.position for one in self.slices):
            return np.empty(0)
        return np.array([one.position for one in self.slices]) @ self.normal

    @property
    def step(self) -> float:
        """The usual distance between slices, mm; 0 where it is not known."""
        apart = np.diff(np.unique(np.round(self.places, 3)))
        return float(np.median(apart)) if len(apart) else self.slices[0].between or self.slices[0].thickness

    @property
    def length(self) -> float:
        """From the first slice to the last, mm."""
        return float(np.ptp(self.places)) if len(self.places) else self.step * (len(self.slices) - 1)

    @property
    def thickness(self) -> float:
        """The distance between slices, or their thickness where that is more, mm."""
        return max(self.step, self.slices[0].thickness)

    @property
    def is_axial(self) -> bool:
        return abs(float(self.normal[2])) > np.cos(np.radians(_AXIAL_DEGREES))

    @property
    def is_derived(self) -> bool:
        return any(word in _DERIVED for word in self.slices[0].image_type)

    @property
    def files(self) -> list[Path]:
        return sorted({one.file for one in self.slices}, key=natural)

    def in_words(self) -> str:
        """What tells it from others, without a word from the header that could name a patient."""
        axial = "axial" if self.is_axial else "not axial"
        sharp = "sharp" if sharpness(self.slices[0].kernel) >= SHARP else "soft or medium"
        derived = ", derived" if self.is_derived else ""
        step = f" every {self.step:g} mm" if self.step else ""
        return f"{len(self.slices)} {axial} slices{step}, {sharp} kernel{derived}"


def natural(file: Path) -> list[tuple[int, str]]:
    """A key that sorts IM2 before IM10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(file))]


def name_of(series: str) -> str:
    """A short stable name for a series: a hash of its UID."""
    return f"series-{hashlib.sha256(series.encode()).hexdigest()[:10]}"


def stacks_of(slices: Sequence[Slice]) -> list[Stack]:
    """The stacks that slices of a CT make up, in the order of their first files."""
    groups: dict[tuple[object, ...], list[list[Slice]]] = defaultdict(list)
    for one in slices:
        pixels = one.pixels
        size = (pixels.rows, pixels.columns) if pixels else ()
        _add(groups[one.study, one.series, size, _rounded(one.spacing), one.kernel, bool(one.position)], one)
    stacks = [part for group in groups.values() for alike in group for part in _by_phase(_stack(alike))]
    return sorted(stacks, key=lambda stack: (natural(stack.files[0]), -len(stack.slices)))


def best(stacks: Sequence[Stack]) -> Stack:
    """The stack to take of those of an exam; see the rule at the top."""
    left = list(stacks)
    left = [stack for stack in left if stack.is_axial] or left
    longest = max(stack.length for stack in left)
    left = [stack for stack in left if stack.length >= _LONG * longest and len(stack.slices) > 1] or left
    left = [stack for stack in left if not stack.is_derived] or left
    thinnest = min(stack.thickness for stack in left)
    left = [stack for stack in left if stack.thickness <= _SAME_THICKNESS * thinnest] or left
    return min(
        left, key=lambda stack: (-sharpness(stack.slices[0].kernel), -len(stack.slices), natural(stack.files[0]))
    )


def _rounded(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(number, 3) for number in numbers)


def _add(alike: list[list[Slice]], one: Slice) -> None:
    """Add a slice to those of its orientation."""
    for group in alike:
        if len(group[0].directions) == len(one.directions) and (
            not one.directions or np.abs(np.subtract(group[0].directions, one.directions)).max() < _TURNED
        ):
            group.append(one)
            return
    alike.append([one])


def _stack(slices: Sequence[Slice]) -> Stack:
    directions = slices[0].directions or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    normal = np.cross(directions[:3], directions[3:])
    stack = Stack(tuple(slices), normal / np.linalg.norm(normal))
    by_file = sorted(slices, key=lambda one: (natural(one.file), one.frame))
    if len(stack.places):
        by_file.sort(key=lambda one: round(float(np.dot(one.position, stack.normal)), 3))
    return Stack(tuple(by_file), stack.normal)


def _by_phase(stack: Stack) -> list[Stack]:
    """A stack as it is, or split by what tells apart the slices at each position."""
    crowd = _most_at_one_place(stack)
    if crowd < 2:
        return [stack]
    for phase in range(len(stack.slices[0].phase)):
        parts: dict[str, list[Slice]] = defaultdict(list)
        for one in stack.slices:
            parts[one.phase[phase]].append(one)
        found = [_stack(part) for part in parts.values()]
        if 2 <= len(found) <= 2 * crowd and all(_most_at_one_place(part) < 2 for part in found):
            return found
    return [stack]


def _most_at_one_place(stack: Stack) -> int:
    if not len(stack.places):
        return 1
    apart = np.diff(stack.places)
    together = most = 1
    for distance in apart:
        together = together + 1 if distance < SAME_PLACE * max(stack.step, 0.01) else 1
        most = max(most, together)
    return most
