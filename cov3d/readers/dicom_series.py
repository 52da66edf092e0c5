"""DICOM files → stacks, and the stack of an exam that is taken.

A DICOM series is often more than one stack of slices: two kernels, a localizer or several phases share one UID. So
slices are grouped by series, orientation, size, pixel spacing and kernel, then split by acquisition and phase.

One stack of an exam (a study) is taken, by this rule, in this order:
1. axial before oblique, coronal and sagittal;
2. at least three quarters as long as the longest;
3. original before derived (reformats, projections);
4. thinner slices;
5. the sharper kernel;
6. more slices, then the first by name.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from cov3d.readers.dicom_phases import split_by_phase
from cov3d.readers.dicom_slice import Slice
from cov3d.readers.dicom_stack import Stack, natural, stack_of
from cov3d.readers.kernels import sharpness

_TURNED = 0.02
_SAME_SPACING = 0.01
_LONG = 0.75
_SAME_THICKNESS = 1.1


def name_of(series: str) -> str:
    """A short stable name for a series: a hash of its UID."""
    return f"series-{hashlib.sha256(series.encode()).hexdigest()[:10]}"


def stacks_of(slices: Sequence[Slice]) -> list[Stack]:
    """The stacks that the CT slices of an exam make up, in the order of their first files."""
    groups: dict[tuple[object, ...], list[list[Slice]]] = defaultdict(list)
    for one in slices:
        pixels = one.pixels
        size = (pixels.rows, pixels.columns) if pixels else ()
        _add(groups[one.study, one.series, size, one.kernel, bool(one.position)], one)
    stacks = [part for group in groups.values() for alike in group for part in split_by_phase(stack_of(alike))]
    return sorted(stacks, key=lambda stack: (natural(stack.files[0]), -len(stack.slices)))


def best(stacks: Sequence[Stack]) -> Stack:
    """The stack of an exam to take; the rule is at the top."""
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


def _add(alike: list[list[Slice]], one: Slice) -> None:
    """Add a slice to the group of its orientation and pixel spacing, or to a new one."""
    for group in alike:
        if _are_near(group[0].directions, one.directions, _TURNED) and _are_near(
            group[0].spacing, one.spacing, _SAME_SPACING * max(one.spacing, default=0.0)
        ):
            group.append(one)
            return
    alike.append([one])


def _are_near(first: Sequence[float], second: Sequence[float], most: float) -> bool:
    if len(first) != len(second):
        return False
    return all(abs(one - other) < most for one, other in zip(first, second, strict=True))
