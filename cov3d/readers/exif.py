"""Reads the EXIF orientation of a JPEG, and turns its picture by it."""

from numpy.typing import NDArray

_ORIENTATION = 0x0112


def orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8; 1 (as stored) if it has none.

    Only the segments before the tables are read; an ordinary slice has one.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and (0xE0 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
            return _read(data[at + 10 : at + 2 + length])
        at += 2 + length
    return 1


def _read(tiff: bytes) -> int:
    """The orientation in the TIFF structure of EXIF; 1 if it is damaged."""
    if tiff[:2] not in (b"II", b"MM"):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if tiff.startswith(b"II") else "big")

    first = number(4, 4)
    for at in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 11), 12):
        if number(at, 2) == _ORIENTATION:
            value = number(at + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def turned(pixels: NDArray, orientation: int) -> NDArray:
    """`pixels` (height, width) turned by an EXIF orientation: a view of the same memory."""
    if orientation >= 5:  # rows and columns are exchanged
        pixels = pixels.T
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]
