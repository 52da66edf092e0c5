"""Paths that a person gives → the scans at and below them, and the format of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.kinds import kind_of_file
from cov3d.readers.left_out import LeftOut
from cov3d.readers.listing import list_folder
from cov3d.readers.registry import Format, container_of, file_suffixes, formats, is_scan_file, part_of
from cov3d.readers.search import parts_below, search_scans
from cov3d.readers.unread import instead


def a_scan() -> str:
    """A description of scans, for errors."""
    return (
        "a scan is a folder of JPEG slices (1.jpg, 2.jpg, …) or of PNG slices, a DICOM series or a file of it, or a "
        f"file in Hounsfield units ({', '.join(file_suffixes())})"
    )


@dataclass(frozen=True)
class Discovery:
    """Scans for a command to work on.

    Attributes:
        scans: their paths, lost ones included, each once, sorted.
        left_out: files and folders that look like scans and are not taken, sorted by path.
        passed_over: files and folders that do not look like scans, sorted by path; hidden ones are not listed.
    """

    scans: list[Path]
    left_out: list[LeftOut]
    passed_over: list[LeftOut]


def discover(paths: Iterable[Path], series: str = "") -> Discovery:
    """Every scan at or below `paths`, and every other file and folder, with the reason.

    Args:
        paths: scans, and folders of scans.
        series: UID or short name of a DICOM series to take for its exam, instead of the series chosen by rule.

    Raises:
        ScanError: a path does not exist, is a file of no known format, or holds no scan; a folder can't be listed; or
            no exam holds the series.
    """
    scans: dict[str, Path] = {}
    left_out: dict[tuple[Path, str], LeftOut] = {}
    passed_over: dict[tuple[Path, str], LeftOut] = {}
    has_series = not series
    for path in paths:
        if not path.exists():
            raise ScanError(f"there is no scan or folder at {path}: check the path")
        if not path.is_dir():
            check_format(path)
            name = identity_of(path)
            has_series |= series == name != ""
            scans.setdefault(name or str(path), path)  # several files of one series are one scan
            continue
        here = search_scans(path, named=True, series=series)
        if not here.scans:
            raise ScanError(f"no scan found under {path}: {a_scan()}{instead(here.left_out)}")
        has_series |= here.has_series
        scans |= {str(scan.path): scan.path for scan in here.scans}
        left_out |= {(left.path, left.reason): left for left in here.left_out}
        passed_over |= {(left.path, left.reason): left for left in here.passed_over}
    if not has_series:
        raise ScanError("no exam holds the series that was asked for: check --series")
    found = sorted(set(scans.values()))
    return Discovery(
        found,
        [left_out[key] for key in sorted(left_out) if key[0] not in found],
        [passed_over[key] for key in sorted(passed_over)],
    )


def find_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans of `discover`."""
    return discover(paths).scans


def check_format(path: Path) -> None:
    """Refuse a path that is not a scan by its name and first bytes.

    Raises:
        ScanError: it does not exist, or is a file in no format that is read.
    """
    if not path.exists():
        raise ScanError(f"there is no scan at {path}: check the path")
    if not path.is_dir() and not is_scan_file(path.name) and part_of(path) is None:
        kind = kind_of_file(path)
        raise ScanError(f"{path} is no scan: {a_scan()}{f'; it is {kind.one}: {kind.advice}' if kind else ''}")


def format_at(path: Path) -> Format:
    """The format of a scan: of a file by its content, then its name; of a folder by most of its files.

    Raises:
        ScanError: it is in no format that is read.
    """
    if not path.is_dir():
        return container_of(path).format if is_scan_file(path.name) else part_of(path) or container_of(path).format
    listing = list_folder(path)
    if listing.slice_format is not None and len(listing.slices) >= len(listing.parts):
        return listing.slice_format
    parts = parts_below(path, listing)
    return parts[0][0] if parts else next(format for format in formats() if format.slice_suffixes)


def identity_of(path: Path) -> str:
    """A short stable name for the series at a path; empty for formats without series."""
    format = format_at(path)
    return format.identity(path) if format.identity is not None else ""
