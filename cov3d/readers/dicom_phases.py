"""Splits a stack of DICOM slices into the acquisitions or phases that it mixes, and joins acquisitions end to end.

One series UID may hold several acquisitions of one region: phases of the heart or of breathing, or a repeated scan. A
volume of them all would mix two states of the lungs. Acquisitions that follow each other along the patient, with an
overlap at their ends at most, are one scan.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cov3d.readers.dicom_slice import Slice
from cov3d.readers.dicom_stack import Stack, stack_of

_CERTAIN = 5
"""The first values of `Slice.phase`, which number the acquisition or phase. The others are times, which differ within
acquisitions."""
_FEWEST = 4
"""Fewer slices are no acquisition of their own."""
_MOST_PASSES = 8
_ENDS = 0.25
"""Acquisitions that overlap by less than this share of the shorter one follow each other."""
_SAME_STEP = 0.25


def split_by_phase(stack: Stack) -> list[Stack]:
    """The acquisitions or phases of a stack; the stack itself if it holds one, or if nothing distinguishes them."""
    if not len(stack.places):
        return [stack]
    crowd = stack.crowd
    keys = [[one.phase[number] for one in stack.slices] for number in range(len(stack.slices[0].phase))]
    keys.insert(_CERTAIN, _passes(stack.slices, stack.places))
    for number, values in enumerate(keys):
        groups: dict[str, list[Slice]] = defaultdict(list)
        for one, value in zip(stack.slices, values, strict=True):
            groups[value].append(one)
        if len(groups) < 2:
            continue
        are_acquisitions = number <= _CERTAIN and min(map(len, groups.values())) >= _FEWEST
        if not (are_acquisitions or 1 < crowd >= len(groups) / 2):
            continue
        if number == _CERTAIN and crowd < 2 and _is_even(stack):
            continue
        parts = [stack_of(group) for group in groups.values()]
        if all(part.crowd < 2 for part in parts) and (crowd > 1 or _overlap_anywhere(parts)):
            return _joined(parts)
    return [stack]


def _is_even(stack: Stack) -> bool:
    """Whether all slices are equally far apart: an instance number may count every second slice first."""
    apart = np.diff(stack.places)
    return bool(np.abs(apart - np.median(apart)).max() <= _SAME_STEP * np.median(apart))


def _passes(slices: Sequence[Slice], places: NDArray[np.float64]) -> list[str]:
    """The pass along the patient that each slice belongs to, by instance number; all in one where that is not clear.

    A pass ends where the positions turn back.
    """
    one_pass = [""] * len(slices)
    numbers = [one.number for one in slices if one.number is not None]
    if len(set(numbers)) < len(slices):
        return one_pass
    found = list(one_pass)
    order = np.argsort(numbers)
    count, direction, length = 1, 0.0, 1
    found[order[0]] = "1"
    for before, after in pairwise(order):
        step = float(np.sign(places[after] - places[before]))
        if direction and step != direction:
            if length < _FEWEST or count == _MOST_PASSES:
                return one_pass
            count, direction, length = count + 1, 0.0, 1
        else:
            direction, length = step, length + 1
        found[after] = str(count)
    return found if length >= _FEWEST else one_pass


def _overlap_anywhere(parts: Sequence[Stack]) -> bool:
    """Whether two of the parts overlap along the patient."""
    end = -np.inf
    for part in sorted(parts, key=lambda part: part.places[0]):
        if part.places[0] < end:
            return True
        end = max(end, part.places[-1])
    return False


def _joined(parts: Sequence[Stack]) -> list[Stack]:
    """The parts, those that follow each other along the patient joined."""
    joined: list[Stack] = []
    for part in sorted(parts, key=lambda part: part.places[0]):
        for place, earlier in enumerate(joined):
            if _follows(part, earlier):
                joined[place] = _join(earlier, part)
                break
        else:
            joined.append(part)
    return joined


def _follows(part: Stack, earlier: Stack) -> bool:
    """Whether a part continues where an earlier one ends: they overlap little, and leave no gap."""
    if min(len(part.slices), len(earlier.slices)) < _FEWEST:
        return False
    steps = sorted((part.step, earlier.step))
    overlap = earlier.places[-1] - part.places[0]
    is_near = -2 * steps[1] < overlap < _ENDS * min(part.length, earlier.length)
    return bool(is_near and steps[1] - steps[0] <= _SAME_STEP * steps[1])


def _join(earlier: Stack, part: Stack) -> Stack:
    after = earlier.places[-1] + part.step / 2
    kept = [one for one, place in zip(part.slices, part.places, strict=True) if place > after]
    dropped = len(part.slices) - len(kept)
    return Stack((*earlier.slices, *kept), earlier.normal, earlier.overlapping + dropped)
