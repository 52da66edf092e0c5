"""A folder of PNG slices, 8 or 16 bits a pixel → Volume.

Files do not state what 16-bit grey levels mean. Hounsfield units with a constant added are recognised by air and soft
tissue. Otherwise the full range is taken as the window; if the values use only a part of it, the scan is refused.
"""

from pathlib import Path

import numpy as np

from cov3d.errors import ScanError
from cov3d.readers.grey import Levels, to_grey
from cov3d.readers.kinds import PNG, head_of
from cov3d.readers.registry import Format
from cov3d.readers.slices import SliceFormat, numbered_slices, read_slices
from cov3d.readers.units import is_hounsfield
from cov3d.volume import Volume

_SLICES = SliceFormat(PNG, (".png",))
_ZEROS = (32768, 1024, 1000)
"""Values of 0 HU in common files; DeepLesion has 32768."""
_LOOKED_AT = 12
_HALF = 32768


def read(folder: Path, threads: int) -> Volume:
    """Read a folder of PNG slices.

    Raises:
        ScanError: see `read_slices`; or the meaning of 16-bit grey levels is unknown.
    """
    files = list(numbered_slices(folder, _SLICES).files.values())
    deep = [file for file in files if head_of(file)[24:25] == b"\x10"]
    zero = None if len(deep) < len(files) else _zero_of(folder, deep[:: max(1, len(deep) // _LOOKED_AT)])
    return read_slices(folder, threads, SliceFormat(PNG, _SLICES.suffixes, zero))


def _zero_of(folder: Path, files: list[str]) -> int | None:
    """The value of 0 HU in 16-bit slices; None where their full range is the window."""
    from PIL import Image

    planes = []
    for file in files:
        try:
            with Image.open(file, formats=["PNG"]) as image:
                if image.mode.startswith("I"):
                    planes.append(np.asarray(image))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            continue  # counted when the slices are decoded
    if not planes:
        return None
    for zero in _ZEROS:
        levels = Levels()
        for plane in planes:
            levels += to_grey(plane, np.empty(plane.shape, dtype=np.uint8), intercept=-zero)
        if is_hounsfield(levels):
            return zero
    low, high = (int(bound(plane.min() if bound is min else plane.max() for plane in planes)) for bound in (min, max))
    if high < _HALF:
        raise ScanError(
            f"{folder} holds 16-bit PNG slices with values from {low} to {high}, which are neither Hounsfield units "
            "nor the full range: give the scan as .nii.gz, or as 8-bit slices with the window -1150 to 350 HU"
        )
    return None


FORMAT = Format("PNG slices", read, slice_suffixes=_SLICES.suffixes)
