"""A zip of one scan, in any format that is read → Volume.

The zip is unpacked into a temporary folder, which is removed again. Nothing is written beside it. An archive that would
write outside that folder, or that would become far too large, is refused before it is unpacked.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from cov3d.errors import ScanError
from cov3d.readers.kinds import HEAD, ZIP, kind_of
from cov3d.readers.registry import Format, by_kind, file_suffixes, slice_suffixes
from cov3d.volume import Volume

_MOST_BYTES = 16 << 30
_MOST_FILES = 100_000
_SMALL, _MOST_RATIO = 64 << 20, 100
"""An archive that unpacks to more than `_SMALL` bytes must not be compressed by more than `_MOST_RATIO`."""
_LINK = 0o120000
_SNIFFED = 20


def reader(
    find: Callable[[Path], list[Path]], read_one: Callable[[Path, int], Volume]
) -> Callable[[Path, int], Volume]:
    """Make the `Format.read` of zips from functions that find the scans of a folder and read a scan."""

    def read(file: Path, threads: int) -> Volume:
        with tempfile.TemporaryDirectory(prefix="cov3d-") as folder:
            inside = Path(folder) / "zip"
            _unpack(file, inside)
            try:
                scans = find(inside)
                if len(scans) > 1:
                    raise ScanError(f"{file} holds {len(scans)} scans: unpack it")
                volume = read_one(scans[0], threads)
            except ScanError as error:
                raise ScanError(str(error).replace(str(inside), str(file))) from None
        return replace(volume, path=file, format=f"{volume.format} in a zip")

    return read


def format_of_zip(find: Callable[[Path], list[Path]], read_one: Callable[[Path, int], Volume]) -> Format:
    """Make the format from functions that find the scans of a folder and read a scan."""
    return Format("zip", reader(find, read_one), suffixes=(".zip",), kinds=(ZIP,), why_no_scan=why_no_scan)


def why_no_scan(file: Path) -> str:
    """Why a zip is no scan, by its list of files and the first bytes of some; empty if it may be a scan."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(file, archive)
            names = [member.filename.lower() for member in members]
            if any(name.endswith((".dcm", ".ima", ".dicom", *_volume_suffixes())) for name in names):
                return ""
            if sum(name.endswith(slice_suffixes()) for name in names) > 1:
                return ""
            for member in members[:: max(1, len(members) // _SNIFFED)]:
                with archive.open(member) as stream:
                    format = by_kind(kind_of(stream.read(HEAD)))
                    if format is not None and format.group is not None:
                        return ""
    except ScanError as error:
        return str(error).removeprefix(f"{file} ")
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError, zlib.error):
        return "is a damaged zip archive: copy or download it again"
    return "is a zip archive without a scan in it: unpack it if it holds one"


def _volume_suffixes() -> tuple[str, ...]:
    return tuple(suffix for suffix in file_suffixes() if suffix != ".zip")


def _members(file: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in an archive, without hidden files and archives.

    Raises:
        ScanError: it is encrypted, would write outside its folder, or would become far too large.
    """
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise ScanError(f"{file} holds a file that would be unpacked outside its folder: refused")
        if (member.external_attr >> 16) & 0o170000 == _LINK:
            raise ScanError(f"{file} holds a link: refused; unpack it")
        if member.flag_bits & 1:
            raise ScanError(f"{file} is a zip archive with a password: unpack it")
    unpacked = sum(member.file_size for member in members)
    packed = max(sum(member.compress_size for member in members), 1)
    packed = min(packed, max(file.stat().st_size, 1))  # entries may share their bytes
    if unpacked > _MOST_BYTES or len(members) > _MOST_FILES or (unpacked > _SMALL and unpacked > _MOST_RATIO * packed):
        raise ScanError(
            f"{file} is a zip archive that unpacks to {unpacked / 1e6:.0f} MB in {len(members)} files from "
            f"{packed / 1e6:.1f} MB: refused as a zip bomb; unpack it if you trust it"
        )
    shown = [member for member in members if not any(part.startswith(".") for part in Path(member.filename).parts)]
    return [member for member in shown if not member.filename.lower().endswith(".zip")]  # one may hold itself


def _unpack(file: Path, folder: Path) -> None:
    try:
        folder.mkdir()
        with zipfile.ZipFile(file) as archive:
            for member in _members(file, archive):
                to = folder.joinpath(*PurePosixPath(member.filename.replace("\\", "/")).parts)
                to.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream, to.open("wb") as unpacked:
                    shutil.copyfileobj(stream, unpacked, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error, ValueError) as error:
        raise ScanError(f"{file} is truncated or damaged: copy the archive again") from error
    except (RuntimeError, NotImplementedError) as error:
        raise ScanError(f"{file} uses an unsupported compression: unpack it") from error
    except OSError as error:
        raise ScanError(f"{file} can't be unpacked: {error.strerror or error}") from error
