"""Reads the stored values of a DICOM slice. The element of the pixels is parsed here, and imagecodecs decodes it.

imagecodecs fills the rest of a truncated JPEG without an error, so the end marker is checked first. No decoder reports
damage inside a lossless frame.
"""

import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cov3d.readers.dicom_slice import Pixels, Slice

Bytes = bytes | memoryview

_PIXEL_DATA = 0x7FE00010
_ITEM = 0xFFFEE000
_UNDEFINED = 0xFFFFFFFF
_END = b"\xff\xd9"
_TAIL = 16
"""The end marker of a JPEG lies within this many bytes of the end, because frames are padded."""

_UID = "1.2.840.10008.1.2"
_NATIVE = (_UID, f"{_UID}.1", f"{_UID}.2", f"{_UID}.1.99")
_DECODERS = {
    f"{_UID}.4.50": "jpeg8_decode",
    f"{_UID}.4.51": "jpeg8_decode",
    f"{_UID}.4.57": "ljpeg_decode",
    f"{_UID}.4.70": "ljpeg_decode",
    **dict.fromkeys((f"{_UID}.4.80", f"{_UID}.4.81"), "jpegls_decode"),
    **dict.fromkeys((f"{_UID}.4.90", f"{_UID}.4.91"), "jpeg2k_decode"),
    **dict.fromkeys((f"{_UID}.4.201", f"{_UID}.4.202", f"{_UID}.4.203"), "htj2k_decode"),
    **dict.fromkeys((f"{_UID}.4.110", f"{_UID}.4.112"), "jpegxl_decode"),
}
_WITHOUT_END = ("jpegxl_decode",)
_RLE, _DEFLATED_FRAMES = f"{_UID}.5", f"{_UID}.8.1"


def is_read(syntax: str) -> bool:
    """Whether slices of a transfer syntax can be decoded."""
    return syntax in (*_NATIVE, *_DECODERS, _RLE, _DEFLATED_FRAMES)


def stored_values(one: Slice, frames: Mapping[Path, Sequence[Bytes]]) -> NDArray:
    """The stored values of a slice, an integer array (rows, columns).

    Args:
        one: the slice.
        frames: frames of the multi-frame files, by file; see `frames_of`.

    Raises:
        ValueError: the file is truncated or damaged.
        OSError: it can't be read.
    """
    pixels = one.pixels
    if pixels is None:
        raise ValueError("no pixels")
    data = frames[one.file][one.frame] if one.file in frames else _frame(_element(one.file, pixels), pixels)
    if pixels.syntax in _NATIVE:
        return _native(data, pixels)
    return _within_bits(_decoded(bytes(data), pixels), pixels)


def frames_of(one: Slice) -> Sequence[Bytes]:
    """The frames of the file of a slice. Call it from one thread only.

    Raises:
        ValueError: the file is truncated or damaged.
        OSError: it can't be read.
    """
    pixels = one.pixels
    if pixels is None:
        raise ValueError("no pixels")
    length, data = _element(one.file, pixels)
    if pixels.syntax in _NATIVE:
        size = pixels.rows * pixels.columns * pixels.allocated // 8
        return [data[number * size : (number + 1) * size] for number in range(pixels.frames)]
    if length != _UNDEFINED:
        raise ValueError("no frames")
    from pydicom.encaps import generate_frames

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(generate_frames(bytes(data), number_of_frames=pixels.frames))
    return found + [b""] * (pixels.frames - len(found))


def _element(file: Path, pixels: Pixels) -> tuple[int, memoryview]:
    """The length of the pixel element by its header, and all bytes from its value on, not copied."""
    with file.open("rb", buffering=0) as stream:
        if pixels.deflated_from:
            stream.seek(pixels.deflated_from)
            try:
                data = zlib.decompress(stream.read(), wbits=-15)[pixels.offset :]
            except zlib.error as error:
                raise ValueError("damaged") from error
        else:
            stream.seek(pixels.offset)
            data = stream.read()
    order: Literal["little", "big"] = "little" if pixels.little else "big"
    group, element = int.from_bytes(data[:2], order), int.from_bytes(data[2:4], order)
    if group << 16 | element != _PIXEL_DATA:
        raise ValueError("no pixels")
    start = 8 if pixels.implicit else 12
    return int.from_bytes(data[start - 4 : start], order), memoryview(data)[start:]


def _frame(element: tuple[int, memoryview], pixels: Pixels) -> Bytes:
    """The bytes of the only frame of a file; for compressed pixels, the fragments without the table of offsets."""
    length, data = element
    if pixels.syntax in _NATIVE:
        return data[:length]
    if length != _UNDEFINED:
        raise ValueError("compressed pixels without fragments")
    fragments, at = [], 0
    while at + 8 <= len(data):
        tag = int.from_bytes(data[at : at + 2], "little") << 16 | int.from_bytes(data[at + 2 : at + 4], "little")
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if tag != _ITEM:
            break
        if at + 8 + size > len(data):
            raise ValueError("truncated")
        fragments.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(fragments[1:])


def _native(data: Bytes, pixels: Pixels) -> NDArray:
    count = pixels.rows * pixels.columns
    if pixels.allocated not in (8, 16, 32) or len(data) < count * pixels.allocated // 8:
        raise ValueError("truncated")
    kind = np.dtype(f"u{pixels.allocated // 8}").newbyteorder("<" if pixels.little else ">")
    values = np.frombuffer(data, kind, count).reshape(pixels.rows, pixels.columns)
    return _within_bits(values.astype(kind.newbyteorder("="), copy=False), pixels)


def _decoded(data: bytes, pixels: Pixels) -> NDArray:
    import imagecodecs

    kind = np.dtype(f"u{pixels.allocated // 8}")
    try:
        if pixels.syntax in (_RLE, _DEFLATED_FRAMES):
            if pixels.syntax == _RLE:
                raw = imagecodecs.dicomrle_decode(data, kind)
            else:
                raw = zlib.decompressobj(wbits=-15).decompress(data)
            return np.frombuffer(raw, kind).reshape(pixels.rows, pixels.columns)
        decoder = _DECODERS.get(pixels.syntax)
        if decoder is None or (decoder not in _WITHOUT_END and _END not in data[-_TAIL:]):
            raise ValueError("truncated, or of a transfer syntax that is not read")
        decode: Callable[[bytes], NDArray] = getattr(imagecodecs, decoder)
        found = np.asarray(decode(data))
    except Exception as error:  # each codec has an error of its own
        raise ValueError("damaged") from error
    if found.shape != (pixels.rows, pixels.columns):
        raise ValueError("of another size than its header says")
    return found


def _within_bits(values: NDArray, pixels: Pixels) -> NDArray:
    """Values with their sign, and without the bits above and below those stored."""
    if values.dtype.kind == "i":
        return values
    bits = 8 * values.dtype.itemsize
    shift = max(pixels.high_bit + 1 - pixels.stored, 0) if pixels.syntax in _NATIVE else 0
    if not 0 < pixels.stored + shift <= bits:
        return values.view(f"i{bits // 8}") if pixels.signed else values
    up = bits - pixels.stored - shift
    if up == 0 and shift == 0:
        return values.view(f"i{bits // 8}") if pixels.signed else values
    shifted = values << values.dtype.type(up)
    if pixels.signed:
        shifted = shifted.view(f"i{bits // 8}")
    return shifted >> shifted.dtype.type(up + shift)
