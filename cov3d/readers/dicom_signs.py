"""Mends headers with the wrong sign: of the stored values, or of their padding.

Some converters write signed values and call them unsigned. Air would lie near 65000 HU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cov3d.readers.dicom_pixels import Bytes, stored_values
from cov3d.readers.dicom_slice import Slice

_IMPOSSIBLE_HU = 32_000
"""Metal is less dense in the extended range of CT."""
_MUCH = 0.05
_LOOKED_AT = 3
NOTE = "stored values are signed, though the header says unsigned: corrected"


def with_true_signs(
    slices: Sequence[Slice], frames: Mapping[Path, Sequence[Bytes]]
) -> tuple[Sequence[Slice], list[str]]:
    """The slices, with the sign of their pixels corrected by the values of a few; and a note where it was."""
    suspects = [one for one in slices if one.pixels and not one.pixels.signed and one.pixels.stored == 16]
    looked_at = suspects[:: max(1, len(suspects) // _LOOKED_AT)][:_LOOKED_AT]
    if not any(_is_signed(one, frames) for one in looked_at):
        return slices, []
    wrong = set(map(id, suspects))
    return [
        replace(one, pixels=replace(one.pixels, signed=True)) if one.pixels and id(one) in wrong else one
        for one in slices
    ], [NOTE]


def _is_signed(one: Slice, frames: Mapping[Path, Sequence[Bytes]]) -> bool:
    try:
        values = stored_values(one, frames)
    except (ValueError, OSError):
        return False
    impossible = values[values * one.slope + one.intercept > _IMPOSSIBLE_HU]
    _, counts = np.unique(impossible, return_counts=True)
    return float(counts.sum() - counts.max(initial=0)) > _MUCH * values.size  # one value may be padding


def padding_of(one: Slice) -> tuple[float, ...]:
    """The range of padding with the sign of the pixels; headers may write 65535 for -1, or the reverse."""
    if one.pixels is None:
        return one.padding
    whole = 2**one.pixels.allocated
    low, high = (-whole // 2, whole // 2) if one.pixels.signed else (0, whole)
    return tuple(value - whole if value >= high else value + whole if value < low else value for value in one.padding)
