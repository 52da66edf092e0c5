"""Encode and decode the file of a volume in the store.

Each slice is stored as its difference to the slice above, modulo 256. The differences form a .npy file, compressed as
one Zstandard frame with a checksum. It can be read without cov3d:

    np.cumsum(np.load(io.BytesIO(zstandard.decompress(file.read_bytes()))), axis=0, dtype=np.uint8)

Neighbouring slices are similar and CT is noisy. The differences compress to half the bytes; compression alone reaches
four fifths. `benchmarks/storage.py` measures the alternatives; `docs/preprocessing.md` has the results.
"""

from io import BytesIO
from itertools import pairwise

import numpy as np
import zstandard
from numpy.typing import NDArray

FORMAT = 2
"""Increased whenever the same voxels are written differently."""

FIRST_FORMAT = 1
"""Format of a store without a format number: plain .npy."""

FORMAT_NAME = "differences between slices as .npy, Zstandard"

SUFFIX = ".diff.npy.zst"
_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    1, strategy=zstandard.STRATEGY_FAST, min_match=7, hash_log=6, write_checksum=True
)
"""Noise has no repeats: the search for repeats is cut short, and the gain comes from coding single bytes."""

_LONGEST_HEADER = 1024


def encode(voxels: NDArray[np.uint8]) -> bytes:
    """The file of a `uint8` volume (depth, height, width); the same volume gives the same bytes."""
    stream = BytesIO()
    layout = {"descr": "|u1", "fortran_order": False, "shape": voxels.shape}
    np.lib.format.write_array_header_1_0(stream, layout)
    header = np.frombuffer(stream.getvalue(), dtype=np.uint8)
    content = np.empty(header.size + voxels.size, dtype=np.uint8)  # filled in place, without further copies
    content[: header.size] = header
    differences = content[header.size :].reshape(voxels.shape)
    differences[0] = voxels[0]
    np.subtract(voxels[1:], voxels[:-1], out=differences[1:])
    return zstandard.ZstdCompressor(compression_params=_PARAMETERS).compress(content.data)


def decode(encoded: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The volume of `shape` from the bytes of its file.

    The bytes are not trusted: nothing is unpickled, and no more memory is used than a volume of `shape` needs.

    Raises:
        ValueError: the bytes are incomplete, were changed, or hold something other than a volume of `shape`.
    """
    wanted = int(np.prod(shape))
    try:
        length = zstandard.frame_content_size(encoded)
        if not wanted < length <= wanted + _LONGEST_HEADER:
            raise ValueError(f"it does not hold a volume of {'×'.join(map(str, shape))} voxels")
        content = zstandard.ZstdDecompressor().decompress(encoded, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    differences = _array(content)
    if differences.shape != shape:
        raise ValueError(f"its shape is {differences.shape}, not {shape}")
    voxels = np.empty(shape, dtype=np.uint8)
    voxels[0] = differences[0]
    for difference, (above, below) in zip(differences[1:], pairwise(voxels), strict=True):
        np.add(above, difference, out=below)
    return voxels


def _array(content: bytes) -> NDArray[np.uint8]:
    """The array of a .npy file of unsigned bytes."""
    stream = BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its .npy format has another version")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.uint8 or fortran_order:
        raise ValueError(f"it holds {dtype}, not unsigned bytes in row-major order")
    return np.frombuffer(content, dtype=np.uint8, offset=stream.tell()).reshape(shape)
