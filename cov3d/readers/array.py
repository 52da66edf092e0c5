"""An array in memory → Volume, by the same rules as a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import units
from cov3d.readers.grey import Levels, to_grey
from cov3d.volume import Volume


def volume_of_array(array: NDArray[Any], spacing: Sequence[float] | None = None, name: str = "array") -> Volume:
    """Make a volume of an array.

    Args:
        array: shape (depth, height, width); slice 0 at the head, row 0 anterior, column 0 the patient's right. `uint8`
            holds grey levels (0: −1150 HU or less, 255: 350 HU or more), every other type Hounsfield units.
        spacing: mm between voxels along (depth, height, width); None if unknown.
        name: of the scan, for errors.

    Raises:
        ScanError: the array has no such shape, or does not hold Hounsfield units; or the spacing is not three positive
            numbers.
    """
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "iuf":
        raise ScanError(
            f"{name} must be an array of numbers with three axes (depth, height, width), not {array.dtype} of shape "
            f"{array.shape}"
        )
    if spacing is not None and not (len(spacing) == 3 and all(np.isfinite(mm) and mm > 0 for mm in spacing)):
        raise ScanError(f"the spacing of {name} must be three positive numbers (depth, height, width in mm)")
    voxels = np.array(array, dtype=np.uint8) if array.dtype == np.uint8 else np.empty(array.shape, dtype=np.uint8)

    def convert(shift: float) -> Iterator[Levels]:
        for plane, target in zip(array, voxels, strict=True):
            yield to_grey(plane, target, intercept=-shift)

    notes = () if array.dtype == np.uint8 else units.fill(Path(name), convert)
    known = None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    return Volume(voxels, Path(name), len(voxels), known, notes, format="array")
