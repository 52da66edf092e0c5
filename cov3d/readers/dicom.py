"""DICOM: files of any name → scans, one for each exam; and a scan → Volume.

Files are grouped by their headers, in any folder. pydicom reads headers and imagecodecs decodes: SimpleITK drops
truncated slices without an error and averages uneven spacing, and other packages take several times as long.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cov3d.errors import ScanError
from cov3d.readers.dicom_header import read_slices
from cov3d.readers.dicom_series import best, name_of, stacks_of
from cov3d.readers.dicom_slice import Slice
from cov3d.readers.dicom_stack import Stack, natural
from cov3d.readers.dicom_volume import volume_of
from cov3d.readers.kinds import DICOM, kind_of_file
from cov3d.readers.left_out import LeftOut
from cov3d.readers.registry import Format, Grouped
from cov3d.volume import Volume

_ADVICE = "copy or export it again"


def read(path: Path, threads: int) -> Volume:
    """Read the chest CT of a folder, or the series of one of its files.

    Raises:
        ScanError: there is no CT, there are several exams, or the series can't be read.
    """
    slices, given = _slices_at(path)
    exams = _exams(slices)
    stacks = [stack for stacks in exams.values() for stack in stacks]
    if not stacks:
        raise ScanError(f"{path} holds no CT series ({_not_taken_in_words(slices)}): give the folder of the CT")
    if given is not None:
        stacks = [stack for stack in stacks if stack.slices[0].series == given.series]
        holding = [stack for stack in stacks if path in stack.files]
        chosen = max(holding or stacks, key=lambda stack: len(stack.slices))
    elif len(exams) > 1:
        raise ScanError(f"{path} holds {len(exams)} exams: give the folder of one, or a file of its series")
    else:
        chosen = best(stacks)
    series = f"1 of {len(stacks)}: {chosen.in_words()}" if len(stacks) > 1 else ""
    return volume_of(path, chosen, series, threads)


def group(files: Sequence[Path], series: str) -> Grouped:
    """Sort files into scans: one series of each exam (study), chosen by the rule of `dicom_series` or by its UID.

    Args:
        files: DICOM files of one tree.
        series: UID or short name of a series to take for its exam; empty to choose all by the rule.
    """
    slices = [one for file in files for one in read_slices(file)]
    found = Grouped(left_out=list(_left_out(slices)))
    tree = _Tree(slices)
    single: list[Slice] = []
    for stacks in _exams(slices).values():
        wanted = [stack for stack in stacks if series and series in _names(stack)]
        found.has_series |= bool(wanted)
        chosen = best(wanted or stacks)
        if len(chosen.slices) < 2:
            single += [one for stack in stacks for one in stack.slices]
            continue
        found.scans[tree.path_of(chosen, stacks)] = len(chosen.slices)
        found.left_out += [
            LeftOut(tree.place_of(other), _why_not_taken(other, chosen), is_scan=False)
            for other in stacks
            if other is not chosen
        ]
    found.left_out += _single_slices(single)
    return found


def _why_not_taken(other: Stack, chosen: Stack) -> str:
    if len(other.slices) == 1 and other.slices[0].series == chosen.slices[0].series:
        return "is a slice that does not fit its series in size, spacing, orientation, kernel, position or time"
    return f"is another series of the exam ({other.in_words()}): not the one taken ({chosen.in_words()})"


def _single_slices(slices: Sequence[Slice]) -> Iterable[LeftOut]:
    """Slices of exams without a series of more than one slice, one entry for each folder."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for one in slices:
        folders[one.file.parent].append(one.file)
    for folder, files in folders.items():
        if len(files) == 1:
            yield LeftOut(files[0], "holds 1 CT slice: a scan has more than one", is_scan=True)
            continue
        names = sorted(files, key=natural)
        yield LeftOut(
            folder,
            f"holds {len(files)} CT slices ({names[0].name} to {names[-1].name}), each of a series of its own by its "
            "UIDs: export the exam again",
            is_scan=True,
        )


def identity(file: Path) -> str:
    """A short stable name for the series of a file or folder, without its UID; empty if there is no series."""
    slices, given = _slices_at(file)
    if given is not None:
        return name_of(given.series)
    stacks = [stack for stacks in _exams(slices).values() for stack in stacks]
    return name_of(best(stacks).slices[0].series) if stacks else ""


def _slices_at(path: Path) -> tuple[list[Slice], Slice | None]:
    """The slices to choose from at a path; and the slice of the path, if it is a file.

    Raises:
        ScanError: the file is not a CT slice.
    """
    if path.is_dir():
        return [one for file in _files_below(path) for one in read_slices(file)], None
    own = read_slices(path)
    if own[0].why_not:
        raise ScanError(f"{path} is not a CT slice: it is {_words(own[0].why_not, 1)}")
    if len(own) > 1:
        return list(own), own[0]
    near = _files_in(path.parent)
    if len(near) == 1:  # each slice in a folder of its own
        near = list(_files_below(path.parent.parent))
    others = [one for file in near if file != path for one in read_slices(file)]
    same = [one for one in others if (one.study, one.series) == (own[0].study, own[0].series)]
    return [*own, *same], own[0]


def _files_in(folder: Path) -> list[Path]:
    try:
        files = [folder / entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error
    return sorted((file for file in files if not file.name.startswith(".") and _is_dicom(file)), key=natural)


def _files_below(folder: Path) -> Iterable[Path]:
    for root, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from _files_in(Path(root))


def _is_dicom(file: Path) -> bool:
    return file.name.lower() != "dicomdir" and kind_of_file(file) == DICOM


def _exams(slices: Sequence[Slice]) -> dict[str, list[Stack]]:
    """The stacks of each exam."""
    exams: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        if not one.why_not:
            exams[one.study or one.series or str(one.file.parent)].append(one)
    return {exam: stacks_of(members) for exam, members in exams.items()}


def _names(stack: Stack) -> tuple[str, str]:
    uid = stack.slices[0].series
    return uid, name_of(uid)


class _Tree:
    """The folders of DICOM files, with everything below them."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        files: dict[Path, set[Path]] = defaultdict(set)
        exams: dict[Path, set[str]] = defaultdict(set)
        for one in slices:
            files[one.file.parent].add(one.file)
            if not one.why_not:
                exams[one.file.parent].add(one.study or one.series)
        self._file_counts: Counter[Path] = Counter()
        self._exams: dict[Path, set[str]] = defaultdict(set)
        for folder, own in files.items():
            for at in (folder, *folder.parents):
                self._file_counts[at] += len(own)
                self._exams[at] |= exams[folder]

    def path_of(self, chosen: Stack, stacks: Sequence[Stack]) -> Path:
        """The path of a scan: its only file, the folder that `read` chooses it from, or its first file."""
        if len(chosen.files) == 1:
            return chosen.files[0]
        folder = _folder(chosen)
        below = [stack for stack in stacks if any(file.is_relative_to(folder) for file in stack.files)]
        return folder if len(self._exams[folder]) == 1 and best(below) is chosen else chosen.files[0]

    def place_of(self, stack: Stack) -> Path:
        """The place of a stack: its folder if that holds nothing else, else its first file."""
        folder = _folder(stack)
        alone = len(stack.files) > 1 and self._file_counts[folder] == len(stack.files)
        return folder if alone else stack.files[0]


def _folder(stack: Stack) -> Path:
    return Path(os.path.commonpath([file.parent for file in stack.files]))


def _left_out(slices: Sequence[Slice]) -> Iterable[LeftOut]:
    """Entries for files that are not CT slices, one for each kind in a folder."""
    kinds: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for one in slices:
        if one.why_not:
            kinds[one.file.parent, one.why_not].append(one.file)
    for (folder, why), files in kinds.items():
        names = sorted(set(files), key=natural)
        advice = f": {_ADVICE}" if why in ("unreadable", "gone", "header without pixels") else ""
        is_scan = why in ("unreadable", "gone", "multi-frame without positions", "header without pixels")
        if len(names) == 1:
            yield LeftOut(names[0], f"is {_words(why, 1)}{advice}", is_scan)
        else:
            where = f"({names[0].name} to {names[-1].name})"
            yield LeftOut(folder, f"holds {_words(why, len(names))} {where}{advice}", is_scan)


def _not_taken_in_words(slices: Sequence[Slice]) -> str:
    counts = Counter(one.why_not for one in slices)
    return ", ".join(_words(why, count) for why, count in counts.items()) or "no DICOM file"


def _words(why: str, count: int) -> str:
    one, many = {
        "unreadable": ("a damaged DICOM file", "damaged DICOM files"),
        "gone": ("a file that no longer exists", "files that no longer exist"),
        "report": ("a DICOM report", "DICOM reports"),
        "index": ("a DICOM index", "DICOM indices"),
        "no image": ("a DICOM object without an image", "DICOM objects without an image"),
        "localizer": ("a localizer", "localizers"),
        "header without pixels": ("a DICOM header without pixels", "DICOM headers without pixels"),
        "map in other units": ("a DICOM map in other units than HU", "DICOM maps in other units than HU"),
    }.get(why, (f"a DICOM {why}", f"DICOM {why}s"))
    return one if count == 1 else f"{count} {many}"


FORMAT = Format("DICOM", read, kinds=(DICOM,), group=group, identity=identity)
