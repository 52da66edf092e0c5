"""One picture → grey pixels, by libjpeg-turbo.

simplejpeg decodes ordinary 8-bit JPEGs straight into the volume. It is as fast as any, and raises an error on damage,
where OpenCV and imagecodecs fill the rest of the picture with grey. Other pictures (12 and 16 bits, other formats named
.jpg) are rare, so the libraries that decode them are imported only when needed.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cov3d.readers.exif import orientation, turned
from cov3d.readers.grey import to_grey
from cov3d.readers.kinds import HEAD, JPEG, Kind, kind_of

_JPEG = b"\xff\xd8"
_END = b"\xff\xd9"
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_MOST_PIXELS = 8192 * 8192
"""More than any CT slice has. A header with a larger size is damaged, and no memory is allocated for it."""

# The errors of the libraries for a file that they can't decode, and OSError for a file that can't be read.
_DECODE_ERRORS = (OSError, ValueError, RuntimeError, SyntaxError, EOFError)


class Picture(NamedTuple):
    """A picture as stored in its file.

    Attributes:
        height, width: its size in pixels, after it is turned.
        bits: bits per pixel.
        kind: its format.
        orientation: the EXIF orientation; 1 for a picture that is not turned.
        frames: number of pictures in the file; the first is read.
    """

    height: int
    width: int
    bits: int
    kind: Kind = JPEG
    orientation: int = 1
    frames: int = 1


class Decoded(NamedTuple):
    """The grey pixels (height, width) of a picture, and its description."""

    grey: NDArray[np.uint8]
    picture: Picture


def decode_into(file: str, target: NDArray[np.uint8], zero: int | None = None) -> Picture | None:
    """Decode a picture into `target`, a contiguous `uint8` array (height, width).

    Colour becomes grey, more than 8 bits become 8 (their full range is 0 to 255), a picture with an EXIF orientation is
    turned by it, and one of another size is resized.

    Args:
        file: the picture.
        target: the array to fill.
        zero: the value of 0 HU in 16-bit PNG and TIFF pixels; None if they do not hold Hounsfield units.

    Returns:
        The picture as stored; None if it is damaged or in no format that is read. `target` is then invalid.
    """
    try:
        data = _read(file)
        grey, picture = _decode(data, target, zero)
        if grey.shape != target.shape:
            target[:] = _resized(grey.copy(), target.shape)
        elif picture.orientation != 1:
            target[:] = grey.copy()  # it may be a view of the target
        elif not np.may_share_memory(grey, target):
            target[:] = grey
    except _DECODE_ERRORS:
        return None
    return picture


def size_of_first(files: Iterable[str]) -> tuple[int, int] | None:
    """Height and width of the first picture that can be read; None if none can."""
    for file in files:
        try:
            data = _read(file)
            if data.startswith(_JPEG):
                frame = _frame(data)
                size = frame.height, frame.width
                return size[::-1] if orientation(data) >= 5 else size
            return _decode_other(data).grey.shape
        except _DECODE_ERRORS:
            continue
    return None


def _read(file: str) -> bytes:
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 (a Path costs more than the reading)
        return stream.read()


def _decode(data: bytes, target: NDArray[np.uint8], zero: int | None) -> Decoded:
    """Any picture, in the memory of `target` or in its own."""
    try:
        grey, bits = simplejpeg.decode_jpeg(data, colorspace="GRAY", buffer=target)[..., 0], 8
    except ValueError:  # damaged, larger than the target, or not an 8-bit JPEG
        if not data.startswith(_JPEG):
            return _decode_other(data, zero)
        grey, bits = _decode_jpeg(data)
    turn = orientation(data)
    if turn != 1:
        grey = turned(grey, turn)
    return Decoded(grey, Picture(grey.shape[0], grey.shape[1], bits, orientation=turn))


def _decode_jpeg(data: bytes) -> tuple[NDArray[np.uint8], int]:
    """A JPEG of any depth, in an array of its own, and its bits a pixel."""
    frame = _frame(data)
    if frame.bits == 8:
        return simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0], 8
    if data.find(_END, frame.scan) < 0:  # imagecodecs would fill what is missing
        raise ValueError("the picture is truncated")
    import imagecodecs

    return _to_8_bits(imagecodecs.jpeg8_decode(data), frame.bits), frame.bits


def _decode_other(data: bytes, zero: int | None = None) -> Decoded:
    """Decode a picture of another format than JPEG, identified by its first bytes.

    Raises:
        ValueError: it is in no format that is read, is too large, or has pixels of an unknown range.
    """
    from PIL import Image

    kind = kind_of(data[:HEAD])
    if kind is None or not kind.pillow:
        raise ValueError("no picture that is read")
    try:
        with Image.open(BytesIO(data), formats=[kind.pillow]) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError("the header is damaged")
            turn = image.getexif().get(0x0112, 1)
            frames = getattr(image, "n_frames", 1)
            image.seek(0)
            grey, bits = _grey(image, zero)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("the header is damaged") from error
    turn = turn if turn in range(1, 9) else 1
    if kind.pillow != "TIFF":  # Pillow turns a TIFF when it loads it
        grey = turned(grey, turn)
    return Decoded(grey, Picture(grey.shape[0], grey.shape[1], bits, kind, turn, frames))


def _grey(image: Any, zero: int | None) -> tuple[NDArray[np.uint8], int]:
    """The pixels of a picture that Pillow has opened, and their bits.

    Raises:
        ValueError: they are floating-point numbers, or integers of an unknown range.
    """
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        pixels = np.asarray(image)
        return (_to_8_bits(pixels, 16) if zero is None else _windowed(pixels, zero)), 16
    if image.mode[0] in "IF":
        raise ValueError("the range of the pixels is not known")
    return np.asarray(image.convert("L")), 8


def _to_8_bits(pixels: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """`pixels` (height, width) or (height, width, red-green-blue) as grey, their full range as 0 to 255."""
    values = pixels @ _LUMA if pixels.ndim == 3 else pixels
    return np.rint(values * np.float32(255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)


def _windowed(pixels: NDArray[np.integer], zero: int) -> NDArray[np.uint8]:
    grey = np.empty(pixels.shape, dtype=np.uint8)
    to_grey(pixels, grey, intercept=-zero)
    return grey


def _resized(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(grey).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


class _Frame(NamedTuple):
    """The header of a JPEG; `scan` is the offset of the compressed pixels."""

    bits: int
    height: int
    width: int
    scan: int


def _frame(data: bytes) -> _Frame:
    """Read the segments of a JPEG up to its pixels.

    Raises:
        ValueError: the header is damaged.
    """
    at, frame = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
            frame = data[at + 4], int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xDA and frame is not None and 0 < frame[1] * frame[2] <= _MOST_PIXELS:
            return _Frame(*frame, scan=at)
    raise ValueError("the header is damaged")
