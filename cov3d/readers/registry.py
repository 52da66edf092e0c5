"""The registry of formats that are read. Discovery and reading use it, and know no format by name.

A format is one module with a `FORMAT`, one line in `cov3d/readers/__init__.py` that registers it, and a test.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.kinds import GZIP, HEAD, Kind, head_of, kind_of, kind_of_file
from cov3d.readers.left_out import LeftOut
from cov3d.volume import Volume


@dataclass
class Grouped:
    """Files of a format sorted into scans.

    Attributes:
        scans: number of slices of each scan, by the path for `Format.read`.
        left_out: files and folders that are not taken, each named once.
        has_series: whether the series that was asked for is among them.
    """

    scans: dict[Path, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    has_series: bool = False


@dataclass(frozen=True)
class Format:
    """A format that is read.

    Attributes:
        name: its name in tables: `NIfTI`.
        read: path and threads → Volume. The volume must not depend on the threads. It raises ScanError, with one
            sentence, for everything that a file can have wrong.
        suffixes: endings, in lower case, of files that are a scan each.
        kinds: kinds of files, by their first bytes, that are in this format; they count more than the suffix.
        slice_suffixes: endings of slices: a folder of more than one is a scan.
        group: for files that are scans only together, in any folder: files → scans. Such files are identified by their
            first bytes alone (`kinds`).
        identity: path → a short stable name for its series, without any word of its header. Files with the same name
            are one scan.
        why_no_scan: for files that are not always scans: file → the reason why it is no scan; empty for a scan.
    """

    name: str
    read: Callable[[Path, int], Volume]
    suffixes: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    slice_suffixes: tuple[str, ...] = ()
    group: Callable[[Sequence[Path], str], Grouped] | None = None
    identity: Callable[[Path], str] | None = None
    why_no_scan: Callable[[Path], str] | None = None

    @property
    def is_single(self) -> bool:
        """Whether each file is one volume, so that a file with a wrong name can be read."""
        return self.group is None and self.why_no_scan is None


_FORMATS: list[Format] = []


def register(format: Format) -> None:
    """Add a format. A format registered earlier wins where two claim the same suffix."""
    _FORMATS.append(format)


def formats() -> tuple[Format, ...]:
    """Every format, in the order of registration."""
    return tuple(_FORMATS)


def file_suffixes() -> tuple[str, ...]:
    """The endings of files that are one scan each."""
    return tuple(suffix for format in _FORMATS for suffix in format.suffixes)


def slice_suffixes() -> tuple[str, ...]:
    """The endings of slices."""
    return tuple(suffix for format in _FORMATS for suffix in format.slice_suffixes)


def is_scan_file(name: str) -> bool:
    """Whether a file of this name is one scan; hidden files are not."""
    return name.lower().endswith(file_suffixes()) and not name.startswith(".")


def part_of(file: Path) -> Format | None:
    """The format of a file, by its first bytes, if files of that format are scans only together."""
    format = by_kind(kind_of_file(file))
    return format if format is not None and format.group is not None else None


def by_suffix(name: str) -> Format | None:
    """The format of a file by its name."""
    lower = name.lower()
    return next((format for format in _FORMATS if format.suffixes and lower.endswith(format.suffixes)), None)


def by_kind(kind: Kind | None) -> Format | None:
    """The format of a file by its first bytes."""
    return next((format for format in _FORMATS if kind is not None and kind in format.kinds), None)


@dataclass(frozen=True)
class Container:
    """A file by its content.

    Attributes:
        format: the format of its content, or of its name if the content is unknown.
        compression: `gzip` if the complete file is compressed, else empty.
        notes: differences between name and content.
    """

    format: Format
    compression: str
    notes: tuple[str, ...]


def container_of(file: Path) -> Container:
    """The format and compression to read a file with.

    Raises:
        ScanError: it is in no format that is read, or holds another compressed file.
    """
    named = by_suffix(file.name)
    head = head_of(file)
    kind = kind_of(head)
    compression = "gzip" if kind == GZIP else ""
    if compression:
        head = _decompressed(head)
        kind = kind_of(head)
    found = by_kind(kind)
    if compression and kind is not None and found is None and head:
        raise ScanError(f"{file} is compressed by gzip, and in it is {kind.one}: {kind.advice}")
    if kind is not None and found is not None and named not in (None, found) and not found.is_single:
        raise ScanError(f"{file} is {kind.one}: {kind.advice}")
    format = found or named
    if format is None:
        raise ScanError(f"{file} is not a scan in a known format")
    notes = []
    if found is not None and kind is not None and named is not None and found is not named:
        notes.append(f"{kind.one} in spite of its name")
    if found is not None and named is not None and bool(compression) != file.name.lower().endswith(".gz"):
        notes.append(
            "compressed by gzip in spite of its name" if compression else "not compressed in spite of its name"
        )
    return Container(format, compression, tuple(notes))


def _decompressed(head: bytes) -> bytes:
    """The first bytes of a gzip file, decompressed; empty if they are damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""
