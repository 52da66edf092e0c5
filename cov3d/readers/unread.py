"""Finds files that look like scans, or parts of scans, in formats that are not read.

Files are identified by their names; files without a suffix, as DICOM files often are, by their first bytes.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cov3d.readers import kinds
from cov3d.readers.kinds import Kind
from cov3d.readers.left_out import LeftOut
from cov3d.readers.registry import file_suffixes, slice_suffixes

_INCOMPLETE = Kind("an incomplete download", "incomplete downloads", "download it again")
_RAW = Kind(
    "a file of voxels without a header", "files of voxels without headers", "add the .mhd file that belongs to it"
)
_NUMBERED_SUFFIX = Kind("a numbered copy", "numbered copies", "name it by its format, such as .nii.gz")
_ARCHIVE = Kind("an archive", "archives", "unpack it")
_GONE = Kind("a dead link", "dead links", "copy the file that it points to")
_OTHER_JPEG = Kind(
    "a JPEG picture by another name", "JPEG pictures by another name", "name them 1.jpg, 2.jpg, …", "JPEG"
)
_NOT_DICOM = Kind(
    "a DICOM file by its name, but damaged",
    "DICOM files by their names, but damaged",
    "copy or export the series again",
)
_INDEX = Kind("a DICOM index without the files that it lists", "DICOM indices", "copy the folders beside it too")
_PICTURES = {
    **{".png": kinds.PNG, ".bmp": kinds.BMP, ".tif": kinds.TIFF, ".tiff": kinds.TIFF, ".webp": kinds.WEBP},
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), kinds.JPEG_2000),
    **{".gif": kinds.GIF, ".jxl": kinds.JPEG_XL, ".heic": kinds.HEIF, ".avif": kinds.HEIF},
    **dict.fromkeys((".jfif", ".jpe"), _OTHER_JPEG),
}
_VOLUMES = {
    **dict.fromkeys((".dcm", ".dicom", ".ima", ".dic"), _NOT_DICOM),
    **{".hdr": kinds.ANALYZE, ".img": kinds.ANALYZE},
    **{".mgz": kinds.FREESURFER, ".mgh": kinds.FREESURFER, ".mnc": kinds.MINC, ".vtk": kinds.VTK, ".vti": kinds.VTK},
    **{".npy": kinds.NUMPY, ".npz": kinds.NUMPY, ".h5": kinds.HDF5, ".hdf5": kinds.HDF5},
    **{".raw": _RAW, ".zraw": _RAW},
}
_ARCHIVES = {
    **{".7z": kinds.SEVEN_ZIP, ".rar": kinds.RAR, ".tar": kinds.TAR, ".iso": _ARCHIVE},
    **dict.fromkeys((".tgz", ".tbz2", ".txz", ".tbz"), kinds.TAR),
}
_COMPRESSIONS = {".gz": kinds.GZIP, ".bz2": kinds.BZIP2, ".xz": kinds.XZ, ".zst": kinds.ZSTD}
_INCOMPLETE_SUFFIXES = (".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp")
_TEXTS = (".pdf", ".txt", ".csv", ".xlsx", ".docx", ".json", ".xml", ".html")
_COPY = re.compile(r"\.\d+$| ?\(\d+\)$|~$")
_SNIFFED = 8
"""Number of files without a suffix that are opened in one folder: a series is of one kind."""
_FEW, _FEW_BESIDE_SCANS = 3, 20
"""More files than this in a folder are one series. In a folder of scans as files, each file may be a scan."""
_MOST_IN_ERROR = 5
MOST_BESIDE = 9
"""More pictures than this beside scans may be another scan."""


def find_unread(
    folder: Path, names: Iterable[str], taken: Iterable[str] = (), *, beside_scans: bool = False
) -> list[LeftOut]:
    """The files of a folder that look like scans, or slices, in a format that is not read; see `sort_unread`."""
    return sort_unread(folder, names, taken, beside_scans=beside_scans)[0]


def sort_unread(
    folder: Path, names: Iterable[str], taken: Iterable[str] = (), *, beside_scans: bool = False
) -> tuple[list[LeftOut], list[str]]:
    """Files of a folder that are not read: those that look like scans or slices, and the names of the others.

    Args:
        folder: the folder.
        names: its files.
        taken: names of its subfolders, and of its files that are read. An archive or compressed copy beside the files
            that it holds is one of the others.
        beside_scans: whether there are scans in or below the folder.
    """
    taken = list(taken)
    is_flat = any(name.lower().endswith(_suffixes_read()) for name in taken)
    ordered = sorted(names, key=_natural)
    suffixes = {_suffix(name) for name in (*ordered, *taken)}
    left_out: list[LeftOut] = []
    named: set[str] = set()
    for kind, files in _by_kind(folder, ordered, taken, suffixes).items():
        listed = _likely_slices(files) if _is_slice(kind) else files
        left_out += _of_one_kind(folder, kind, listed, is_flat=is_flat, beside_scans=beside_scans) if listed else []
        named |= set(listed)
    read = {name for name in ordered if (by := _kind_by_name(name)) and _belongs(name, by, ordered, suffixes)}
    return left_out, [name for name in ordered if name not in named and name not in read]


def not_scans(folder: Path, names: Sequence[str]) -> list[LeftOut]:
    """Entries for files that do not look like scans, many in one folder as one."""
    if len(names) > _FEW:
        return [LeftOut(folder, f"holds {in_range(list(names), 'files of unknown formats')}", is_scan=False)]
    return [LeftOut(folder / name, "is in no format that is read", is_scan=False) for name in names]


def _is_slice(kind: Kind) -> bool:
    """Whether pictures of a kind are slices; a TIFF may hold all slices of a scan."""
    return bool(kind.name) and kind != kinds.TIFF


def _likely_slices(files: list[str]) -> list[str]:
    """The pictures with a number in their name; all of them if none has one and there are many."""
    numbered = [file for file in files if any(sign.isdigit() for sign in file)]
    return numbered or files * (len(files) > MOST_BESIDE)


def _of_one_kind(folder: Path, kind: Kind, files: list[str], *, is_flat: bool, beside_scans: bool) -> list[LeftOut]:
    """Entries for the files of one kind in a folder: one for a series, or one for each file."""
    is_slice = _is_slice(kind)
    if is_slice:
        most = 1
    elif kind in (_NOT_DICOM, kinds.TIFF):
        most = _FEW_BESIDE_SCANS if is_flat else _FEW
    else:
        most = len(files)
    if len(files) > most:
        is_scan = not (kind.name and beside_scans) or len(files) > MOST_BESIDE
        return [LeftOut(folder, f"holds {in_range(files, kind.many)}: {kind.advice}", is_scan)]
    return [LeftOut(folder / file, f"is {kind.one}: {kind.advice}", not is_slice) for file in files]


def instead(left_out: list[LeftOut]) -> str:
    """Words on files found in place of scans, to append to an error; empty if nothing was found."""
    if not left_out:
        return ""
    more = f"; and {len(left_out) - _MOST_IN_ERROR} more" if len(left_out) > _MOST_IN_ERROR else ""
    return "".join(f"; {left}" for left in left_out[:_MOST_IN_ERROR]) + more


def in_range(files: list[str], what: str) -> str:
    """The number of files, and the names of the first and the last: `3 pictures (1.png to 3.png)`."""
    names = files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"
    return f"{len(files)} {what} ({names})"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2.png before 10.png."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _by_kind(folder: Path, names: list[str], taken: list[str], suffixes: set[str]) -> dict[Kind, list[str]]:
    stems = {stem_of(name) for name in taken}
    groups: dict[Kind, list[str]] = defaultdict(list)
    unnamed = []
    for name in names:
        kind = _kind_by_name(name)
        if kind == _NOT_DICOM:
            kind = _instead_of_dicom(folder / name)
        if kind is None and is_unnamed(name):
            unnamed.append(name)
        elif kind is None or _belongs(name, kind, names, suffixes) or (_is_packed(kind) and stem_of(name) in stems):
            continue
        else:
            groups[kind].append(name)
    for kind, files in _by_content(folder, unnamed).items():
        groups[kind] = sorted([*groups[kind], *files], key=_natural)
    return groups


def _suffixes_read() -> tuple[str, ...]:
    return (*file_suffixes(), *slice_suffixes())


def _suffix(name: str) -> str:
    return os.path.splitext(name.lower())[1]  # noqa: PTH122


def is_picture(name: str) -> bool:
    """Whether a file is a picture other than JPEG, by its name."""
    return _suffix(name) in _PICTURES


def has_dicom_name(name: str) -> bool:
    """Whether a file may be DICOM by its name: the ending is that of DICOM, or unknown."""
    return _kind_by_name(name) in (None, _NOT_DICOM)


def known_ending(name: str) -> str:
    """The ending of a file name if it is one of a known format, such as `.nii.gz`; empty for any other."""
    lower = name.lower()
    endings = (*_suffixes_read(), *_VOLUMES, *_PICTURES, *_ARCHIVES, *_COMPRESSIONS, *_INCOMPLETE_SUFFIXES, *_TEXTS)
    return max((ending for ending in endings if lower.endswith(ending)), key=len, default="")


def stem_of(name: str) -> str:
    """A name in lower case without its suffixes: `scan` for `scan.nii.gz`, `scan.tar.gz` and `scan`."""
    stem = name.lower()
    known = (*_COMPRESSIONS, *_ARCHIVES, *_VOLUMES, ".zip", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
    while (suffix := _suffix(stem)) in known:
        stem = stem.removesuffix(suffix)
    return stem


def _kind_by_name(name: str) -> Kind | None:
    """The kind of a file by its name, if it looks like a scan in a format that is not read."""
    lower, suffix = name.lower(), _suffix(name)
    if lower == "dicomdir":
        return _INDEX
    for table in (_VOLUMES, _PICTURES, _ARCHIVES):
        if suffix in table:
            return table[suffix]
    inner = lower.removesuffix(suffix)
    if suffix in _COMPRESSIONS:
        if _suffix(inner) == ".tar":
            return kinds.TAR
        return _COMPRESSIONS[suffix] if _looks_like_scan(inner) else None
    if suffix in _INCOMPLETE_SUFFIXES and _looks_like_scan(inner):
        return _INCOMPLETE
    inner = _COPY.sub("", lower)
    return _NUMBERED_SUFFIX if inner != lower and inner.endswith(file_suffixes()) else None


def _looks_like_scan(name: str) -> bool:
    return name.endswith(_suffixes_read()) or _suffix(name) in (*_VOLUMES, *_ARCHIVES)


def _is_packed(kind: Kind) -> bool:
    return kind in _ARCHIVES.values() or kind in _COMPRESSIONS.values() or kind == _INCOMPLETE


def _belongs(name: str, kind: Kind, names: list[str], suffixes: set[str]) -> bool:
    """Whether a file holds the voxels of a header beside it; only the header is named."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if suffix.lower() == ".img":
        return any(other in names for other in (f"{stem}.hdr", f"{stem}.HDR"))
    return kind == _RAW and bool(suffixes & {".nhdr", ".mhd"})


def is_unnamed(name: str) -> bool:
    """Whether a name has no suffix; the last number of a UID does not count."""
    suffix = _suffix(name)
    return not suffix or suffix[1:].isdigit()


def _instead_of_dicom(file: Path) -> Kind:
    """The kind of a file with the name but not the content of DICOM."""
    if file.is_symlink() and not file.exists():
        return _GONE
    kind = kinds.kind_of_file(file)
    return _NOT_DICOM if kind in (None, kinds.ZEROS, kinds.TEXT, kinds.DICOM) or kind.name else kind


def _by_content(folder: Path, names: list[str]) -> dict[Kind, list[str]]:
    """Files without a suffix by kind. Only some are opened, at regular intervals; the others count as the same kind."""
    groups: dict[Kind, list[str]] = defaultdict(list)
    opened = names[:: max(1, len(names) // _SNIFFED)]
    for name in opened:
        path = folder / name
        kind = _GONE if path.is_symlink() and not path.exists() else kinds.kind_of_file(path)
        if kind in _SCANS_BY_CONTENT:
            groups[kind].append(name)
    if groups:
        max(groups.values(), key=len).extend(set(names) - set(opened))
    return groups


_SCANS_BY_CONTENT = (
    *(_GONE, kinds.LFS, kinds.ANNEX, *_VOLUMES.values(), *_ARCHIVES.values(), *_COMPRESSIONS.values()),
    *(kinds.NIFTI, kinds.PAIR, kinds.METAIMAGE, kinds.NRRD, kinds.ZIP, *_PICTURES.values()),
)
