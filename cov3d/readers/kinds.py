"""Identifies files by their first bytes, whatever their names.

Web pages and Git LFS pointers in place of scans are common, and the word "damaged" does not help with them. Each kind
has its own words and advice.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

HEAD = 1024
"""Number of bytes that identify a file; the header of NIfTI needs most."""

_SAVE = "save the scan as a .nii.gz or .mha file"
_UNPACK = "unpack it"
_DOWNLOAD = "download it again"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        one: the words for one file, with an article.
        many: the words for several files.
        advice: what to do about such a file in place of a scan.
        name: the format of a picture; empty for other files.
        pillow: Pillow's name for the format; empty for files that are no pictures, or that are not read.
    """

    one: str
    many: str
    advice: str
    name: str = ""
    pillow: str = ""


def _picture(name: str, pillow: str = "") -> Kind:
    return Kind(f"a {name} picture", f"{name} pictures", "save the slices as JPEG, 1.jpg, 2.jpg, …", name, pillow)


def _archive(name: str) -> Kind:
    return Kind(f"a {name} archive", f"{name} archives", _UNPACK)


def _compressed(name: str) -> Kind:
    return Kind(f"compressed by {name}", f"compressed by {name}", _UNPACK)


EMPTY = Kind("empty, a truncated copy", "empty", "copy or download it again")
LFS = Kind("a Git LFS pointer", "Git LFS pointers", "run git lfs pull")
ANNEX = Kind("a git-annex pointer", "git-annex pointers", "run git annex get, or datalad get")
WEB_PAGE = Kind("a web page", "web pages", f"{_DOWNLOAD}, signed in where the site asks for it")
XML = Kind("an XML document", "XML documents", f"{_DOWNLOAD}: it may hold the server's error message")
JSON = Kind("a JSON document", "JSON documents", f"{_DOWNLOAD}: it may hold the server's error message")
TEXT = Kind("a text file, or damaged", "text files", f"{_DOWNLOAD}: it may hold an error message")
ZEROS = Kind("filled with zeros", "filled with zeros", "copy or download it again")
SHADOW = Kind("a macOS shadow file", "macOS shadow files", "copy the file that it belongs to")
SHORTCUT = Kind("a Windows shortcut", "Windows shortcuts", "copy the file that it points to")
DICOM = Kind("a DICOM file", "DICOM files", "name it .dcm")
NIFTI = Kind("a NIfTI file", "NIfTI files", "name it .nii or .nii.gz")
PAIR = Kind("a part of a NIfTI pair", "parts of NIfTI pairs", _SAVE)
METAIMAGE = Kind("a MetaImage file", "MetaImage files", "name it .mha")
NRRD = Kind("an NRRD file", "NRRD files", "name it .nrrd")
ANALYZE = Kind("an Analyze file or a NIfTI pair", "Analyze files or NIfTI pairs", _SAVE)
FREESURFER = Kind("a FreeSurfer volume", "FreeSurfer volumes", _SAVE)
MINC = Kind("a MINC file", "MINC files", _SAVE)
VTK = Kind("a VTK file", "VTK files", _SAVE)
NUMPY = Kind("a NumPy array", "NumPy arrays", _SAVE)
HDF5 = Kind("an HDF5 file", "HDF5 files", _SAVE)
PDF = Kind("a PDF document", "PDF documents", "give the scan itself")
GZIP, BZIP2, XZ, ZSTD = (_compressed(name) for name in ("gzip", "bzip2", "xz", "Zstandard"))
ZIP = Kind("a zip archive", "zip archives", "name it .zip, or unpack it")
TAR, SEVEN_ZIP, RAR = (_archive(name) for name in ("tar", "7-Zip", "RAR"))
JPEG = _picture("JPEG", "JPEG")
PNG, BMP, WEBP = (_picture(name, name.upper()) for name in ("PNG", "BMP", "WebP"))
_NO_DISTANCES = f"it holds no distance between slices: {_SAVE}"
TIFF = Kind("a TIFF picture", "TIFF pictures", _NO_DISTANCES, "TIFF", "TIFF")
JPEG_2000, GIF = _picture("JPEG 2000", "JPEG2000"), _picture("GIF", "GIF")
HEIF, JPEG_XL = _picture("HEIF or AVIF"), _picture("JPEG XL")

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xff\xd8", JPEG),
    (0, b"\x89PNG\r\n", PNG),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
    (8, b"WEBP", WEBP),
    (0, b"\0\0\0\x0cjP  ", JPEG_2000),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (0, b"GIF8", GIF),
    *((4, b"ftyp" + brand, HEIF) for brand in (b"heic", b"heix", b"mif1", b"avif")),
    (0, b"\0\0\0\x0cJXL ", JPEG_XL),
    (0, b"\xff\x0a", JPEG_XL),
    (344, b"n+1\0", NIFTI),
    (4, b"n+2\0", NIFTI),
    (344, b"ni1\0", PAIR),
    (4, b"ni2\0", PAIR),
    (0, b"ObjectType", METAIMAGE),
    (0, b"NDims", METAIMAGE),
    (128, b"DICM", DICOM),
    (0, b"NRRD00", NRRD),
    (0, b"\x89HDF\r\n", HDF5),
    (0, b"\x93NUMPY", NUMPY),
    (0, b"# vtk", VTK),
    (0, b"\x1f\x8b", GZIP),
    (0, b"BZh", BZIP2),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"\x28\xb5\x2f\xfd", ZSTD),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"7z\xbc\xaf\x27\x1c", SEVEN_ZIP),
    (0, b"Rar!", RAR),
    (257, b"ustar", TAR),
    (0, b"%PDF", PDF),
    (0, b"\0\x05\x16\x07", SHADOW),
    (0, b"L\0\0\0\x01\x14\x02\0", SHORTCUT),
    (0, b"version https://git-lfs.github.com/", LFS),
    (0, b"/annex/objects/", ANNEX),
)
_PAGE_STARTS = ("<!doctype html", "<html", "<head", "<body", "<script")
_SHORTEST_TEXT = 14
_FIRST_ELEMENTS = (
    *((2, element) for element in (0, 1, 2)),
    *((8, element) for element in (0, 1, 5, 8, 16, 18, 22, 24)),
)
_LONGEST_FIRST_ELEMENT = 64
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Sizes of the second header of a BMP: the two letters of the first header are too short a signature."""


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file by its first `HEAD` bytes; None if it is unknown."""
    if not head:
        return EMPTY
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if _is_bare_dicom(head):
        return DICOM
    if not any(head):
        return ZEROS
    return _kind_of_text(head)


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a file begins with an element of DICOM's first groups, without the preamble of a DICOM file."""
    for order in ("little", "big"):
        group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
        if (group, element) not in _FIRST_ELEMENTS or len(head) < 16:
            continue
        explicit = head[4:6] in (b"UL", b"CS", b"UI", b"SH", b"LO", b"DA", b"OB")
        if explicit or int.from_bytes(head[4:8], order) <= _LONGEST_FIRST_ELEMENT:
            return True
    return False


def _kind_of_text(head: bytes) -> Kind | None:
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8", "replace").removesuffix("\ufffd")  # a character that was cut
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(_PAGE_STARTS):
        return WEB_PAGE
    if start.startswith("<?xml"):
        return WEB_PAGE if "<html" in start else XML
    if len(start) < _SHORTEST_TEXT or not all(sign.isprintable() or sign.isspace() for sign in start):
        return None
    if ".git/annex/objects" in start:
        return ANNEX
    if start.startswith("<"):
        return WEB_PAGE if "<html" in start else XML
    return JSON if start.startswith(("{", "[")) else TEXT


def head_of(file: str | Path) -> bytes:
    """The first bytes of a file; empty if it can't be read."""
    try:
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123
            return stream.read(HEAD)
    except OSError:
        return b""


def kind_of_file(file: str | Path) -> Kind | None:
    """The kind of a file; None if it is unknown or the file can't be read."""
    try:
        status = os.stat(file)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
        return None
    if status.st_size == 0:
        return EMPTY
    try:
        return _kind_as_it_is(str(file), status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=50_000)
def _kind_as_it_is(file: str, size: int, changed: int) -> Kind | None:
    """What `kind_of_file` returns. It is called several times a file, and to open one on a network takes long.

    Raises:
        OSError: the file can't be read.
    """
    if head := head_of(file):
        return kind_of(head)
    raise OSError


def kinds_in_words(kinds: Iterable[Kind | None]) -> tuple[str, str]:
    """The number of files of each known kind, in words, and the advice for the commonest; empty if none is known."""
    counts = Counter(kind for kind in kinds if kind is not None).most_common()
    words = ", ".join(f"{count} {'is' if count == 1 else 'are'} {_words(kind, count)}" for kind, count in counts)
    return words, counts[0][0].advice if counts else ""


def _words(kind: Kind, count: int) -> str:
    return kind.one if count == 1 else kind.many
