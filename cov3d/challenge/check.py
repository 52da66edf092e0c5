"""Check submission files, and list all problems at once.

A file in an unexpected format is read in the format that it seems to have. So an unexpected header gives one problem,
not one for every scan.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.challenge.line_format import LineFormat
from cov3d.challenge.submission import FILES, PRESENCE_FILES, SEVERITY_FILES, check_names, submission_name
from cov3d.errors import SubmissionError
from cov3d.inference.task import Task

_MARKS = {
    b"\xef\xbb\xbf": ("utf-8-sig", "UTF-8 with a byte order mark"),
    b"\xff\xfe": ("utf-16", "UTF-16"),
    b"\xfe\xff": ("utf-16", "UTF-16"),
}
_HEADERS = ("scan", "scans", "name", "names", "scanname", "ctscan", "patient", "filename", "id", "0")
"""Common header lines, without spaces and capitals."""
_POSITIVE = PRESENCE_FILES[0]


@dataclass
class Checked:
    """The result of checking a folder of submission files.

    Attributes:
        task: task of the files.
        counts: number of names in each file.
        problems: a sentence for each problem.
    """

    task: Task
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entry:
    """A name in a file, and its line."""

    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}"


def check_submission(
    folder: Path,
    scans: Iterable[str],
    *,
    task: Task | None = None,
    line_format: LineFormat = LineFormat.PLAIN,
    allow_empty: bool = False,
) -> Checked:
    """Check that each test scan is in exactly one file of its task, and that there are no other names.

    Of `both` tasks, the severity files must hold the scans predicted positive, those of `covid.csv`, each once.

    Args:
        folder: folder of the files; other files, such as predictions, are ignored.
        scans: names of the test scans; of a path the last part is used.
        task: task of the expected files; None for the tasks of the files in the folder.
        line_format: expected format of the files.
        allow_empty: accept files without names.

    Raises:
        SubmissionError: the folder is missing, or has no submission file.
        DatasetError: two of `scans` have one name.
        OSError: a file can't be read.
    """
    scans = list(scans)
    check_names(scans)
    known = {submission_name(scan): scan for scan in scans}
    checked = Checked(_task(folder) if task is None else task)
    checked.problems += _other_files(folder)
    entries: dict[str, list[_Entry]] = {}
    for name in _files(checked.task):
        if not (folder / name).is_file():
            checked.problems.append(f"{name} is missing")
            entries[name] = []
            continue
        found, problems = _read(folder / name, known, line_format)
        entries[name] = found
        checked.counts[name] = len(found)
        checked.problems += problems
        if not found and not allow_empty:
            checked.problems.append(f"{name} is empty: if no scan is predicted {Path(name).stem}, give --allow-empty")
    if checked.task != Task.SEVERITY:
        checked.problems += _compare([entry for name in PRESENCE_FILES for entry in entries[name]], known, "")
    if checked.task == Task.SEVERITY:
        checked.problems += _compare([entry for name in SEVERITY_FILES for entry in entries[name]], known, "")
    if checked.task == Task.BOTH:
        positive = {entry.name: known[entry.name] for entry in entries[_POSITIVE] if entry.name in known}
        severities = [entry for name in SEVERITY_FILES for entry in entries[name]]
        checked.problems += _compare(severities, positive, f"of {_POSITIVE} ", known)
    return checked


def _files(task: Task) -> tuple[str, ...]:
    return {Task.PRESENCE: PRESENCE_FILES, Task.SEVERITY: SEVERITY_FILES, Task.BOTH: FILES}[task]


def _task(folder: Path) -> Task:
    """The task of the files in the folder."""
    if not folder.is_dir():
        raise SubmissionError(f"there is no folder {folder}: give the folder of the submission files")
    presence, severity = (
        any((folder / name).is_file() for name in files) for files in (PRESENCE_FILES, SEVERITY_FILES)
    )
    if presence and severity:
        return Task.BOTH
    if not presence and not severity:
        below = sorted({path.parent for name in FILES for path in folder.rglob(name)})
        hint = f": give the folders below it, such as {below[0]}" if below else ""
        raise SubmissionError(f"{folder} has none of the submission files {', '.join(FILES)}{hint}")
    return Task.PRESENCE if presence else Task.SEVERITY


def _other_files(folder: Path) -> Iterator[str]:
    """Files with a name similar to that of a submission file."""
    for path in sorted(folder.iterdir()):
        if path.name in FILES or not path.is_file():
            continue
        alike = [name for name in FILES if _plain(path.stem) == _plain(Path(name).stem)]
        if alike:
            yield f"{path.name} is not a submission file: rename it to {alike[0]}"


def _read(file: Path, known: dict[str, str], expected: LineFormat) -> tuple[list[_Entry], list[str]]:
    """The names in a file, and the problems of its format."""
    text, problems = _decode(file)
    lines = list(enumerate(text.removesuffix("\n").split("\n") if text else [], start=1))
    if blank := [number for number, line in lines if not line.strip()]:
        problems.append(f"{file.name}: {_lines(blank)} blank")
    filled = [(number, line) for number, line in lines if line.strip()]
    possible = _formats_of(filled, known)
    seems = expected if expected in possible or not possible else possible[0]
    if seems != expected:
        problems.append(f"{file.name} seems to be in the format {seems}, not {expected} ({_because(seems, filled)})")
    if seems == LineFormat.HEADER:
        if expected == LineFormat.HEADER and _plain(filled[0][1]) not in _HEADERS:
            problems.append(f"{file.name}: the header {filled[0][1].strip()[:40]!r} may be a scan: write name")
        filled = filled[1:]
    if seems == LineFormat.ROW:
        if len(filled) > 1:
            problems.append(f"{file.name} has {len(filled)} lines, not one row")
        if nameless := sum(not name.strip() for _, line in filled for name in line.split(",")):
            problems.append(f"{file.name}: {nameless} of its names {'is' if nameless == 1 else 'are'} empty")
        filled = [(number, name) for number, line in filled for name in line.split(",") if name.strip()]
    entries = [_Entry(file.name, number, line) for number, line in filled]
    return _mend(entries, known, problems), problems


def _decode(file: Path) -> tuple[str, list[str]]:
    """A file's text with line feeds, and the problems of its encoding."""
    content = file.read_bytes()
    encoding, odd = next((found for mark, found in _MARKS.items() if content.startswith(mark)), ("utf-8", ""))
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text, odd = content.decode("latin-1"), "not UTF-8, but perhaps Latin-1"
    if "\0" in text:
        text, odd = text.replace("\0", ""), "UTF-16 without a byte order mark"
    problems = [f"{file.name} is {odd}: write it as plain UTF-8"] if odd else []
    for ending, name in (("\r\n", "CR LF, as on Windows"), ("\r", "CR, as on old Macs")):
        if ending in text:
            problems.append(f"{file.name}: lines end in {name}, not in LF")
            text = text.replace(ending, "\n")
    return text, problems


def _formats_of(lines: list[tuple[int, str]], known: dict[str, str]) -> tuple[LineFormat, ...]:
    """Possible formats of non-empty lines, the most likely first; empty if unknown."""
    if not lines:
        return ()
    first = lines[0][1]
    if sum(_name(part, known) in known for part in first.split(",")) > 1:
        return (LineFormat.ROW,)
    if _name(first, known) in known:
        return (LineFormat.PLAIN,) if len(lines) > 1 else (LineFormat.PLAIN, LineFormat.ROW)
    if any(_name(line, known) in known for _, line in lines[1:]) or _plain(first) in _HEADERS:
        return (LineFormat.HEADER,)
    return ()


def _because(seems: LineFormat, lines: list[tuple[int, str]]) -> str:
    number, first = lines[0]
    return {
        LineFormat.PLAIN: f"line {number} is one scan's name, {first.strip()!r}",
        LineFormat.HEADER: f"line {number}, {first.strip()[:40]!r}, is not a test scan",
        LineFormat.ROW: f"line {number} has several names, separated by commas",
    }[seems]


def _mend(entries: list[_Entry], known: dict[str, str], problems: list[str]) -> list[_Entry]:
    """The entries with corrected names. Corrections are added to `problems`, a sentence for each kind."""
    by_kind: dict[str, list[_Entry]] = defaultdict(list)
    mended = []
    for entry in entries:
        name = _name(entry.name, known)
        if name != entry.name and name in known:
            by_kind[_oddity(entry.name)].append(entry)
        mended.append(_Entry(entry.file, entry.line, name if name in known else entry.name.strip()))
    for kind, odd in by_kind.items():
        lines = _lines([entry.line for entry in odd])
        problems.append(f"{odd[0].file}: {lines} {kind}, the first {odd[0].name.strip()!r}: write names only")
    return mended


def _name(text: str, known: dict[str, str]) -> str:
    """The scan's name in a line, without spaces, quotes, folders and further columns."""
    if text in known:
        return text
    for part in text.split(","):
        stripped = part.strip().strip("\"'").strip()
        last = re.split(r"[/\\]", stripped.rstrip("/\\"))[-1]
        for candidate in (stripped, last):
            if candidate in known:
                return candidate
    return text.strip()


def _oddity(text: str) -> str:
    if "," in text:
        return "of several columns"
    if "/" in text or "\\" in text:
        return "with paths"
    if "'" in text or '"' in text:
        return "with quotes"
    return "with spaces around the name"


def _lines(numbers: list[int]) -> str:
    return f"line {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} lines (from line {numbers[0]})"


def _compare(
    entries: list[_Entry], wanted: dict[str, str], of: str, known: dict[str, str] | None = None
) -> Iterator[str]:
    """Unknown, repeated and missing names: each name of `wanted` should be in `entries` once.

    Args:
        entries: names in files.
        wanted: expected names, with the scans.
        of: description of the expected scans.
        known: all test scans, if only some are expected.
    """
    places: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        places[entry.name].append(entry)
    alike = {_plain(name): name for name in wanted}
    for name, found in places.items():
        if name in wanted:
            if len(found) > 1:
                yield f"{name} is in {len(found)} places: {', '.join(map(str, found))}"
        elif known is not None and name in known:
            yield f"{found[0]}: {name} has a severity, but is not in {_POSITIVE}"
        else:
            meant = alike.get(_plain(name))
            hint = f": did you mean {meant}?" if meant else ""
            yield f"{', '.join(map(str, found))}: {name[:80]!r} is not a test scan{hint}"
    for name, scan in wanted.items():
        if name not in places:
            yield f"{name} {of}is in none of the files" + (f" ({scan})" if scan != name else "")


def _plain(text: str) -> str:
    """A name without capitals, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
