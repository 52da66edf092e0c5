"""Short names in place of the paths of files and folders, which may hold a patient's name.

A name is a hash of the path below the folder that was given, so it is the same in every run. Reasons quote paths and
file names; these are replaced too.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from cov3d.readers import LeftOut
from cov3d.readers.unread import known_ending

_PLAIN = re.compile(r"\d{1,6}(\.\w+)?")
"""File names that can name nobody, such as `12.jpg`."""


def hashed(kind: str, name: str) -> str:
    """A short stable name: its kind, and a hash of the full name."""
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


class ShortNames:
    """Short names for files and folders at or below the paths that a person gave."""

    def __init__(self, given: Iterable[Path]) -> None:
        """Hash paths relative to the deepest folder that all of `given` share."""
        folders = [path if path.is_dir() else path.parent for path in map(_absolute, given)]
        self._root = Path(os.path.commonpath(folders))
        self._quotable: dict[Path, dict[str, Path]] = {}

    def name(self, path: Path) -> str:
        """The short name of a folder, or of a file; with the ending of the file if it is one of a known format."""
        relative = Path(os.path.relpath(_absolute(path), self._root)).as_posix()
        if path.is_dir():
            return hashed("folder", relative)
        return hashed("file", relative) + known_ending(path.name)

    def hide(self, left: LeftOut) -> LeftOut:
        """An entry without paths and file names."""
        return replace(left, path=Path(self.name(left.path)), reason=self.hide_in(left.reason, left.path))

    def hide_in(self, text: str, path: Path, name: str = "") -> str:
        """A text about a path, without paths and file names.

        Args:
            text: the text, such as the reason why a scan failed.
            path: the path that it is about.
            name: what to write in place of that path; its short name if empty.
        """
        if path not in self._quotable:
            self._quotable[path] = dict(_quotable(path))
        words = {word: self.name(full) for word, full in self._quotable[path].items() if word in text}
        words |= dict.fromkeys((str(path), str(_absolute(path))), name or self.name(path))
        for word in sorted(words, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/]){re.escape(word)}(?!\w)", words[word], text)
        return text


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (a link keeps its own name)


def _quotable(path: Path) -> Iterator[tuple[str, Path]]:
    """What a text on a path may quote: the paths and names of files below a folder, beside a file, or in a zip."""
    folder = path if path.is_dir() else path.parent
    for root, folders, files in os.walk(folder):
        if not path.is_dir():
            folders.clear()
        for name in (*folders, *files):
            full = Path(root) / name
            yield str(full), full
            yield str(_absolute(full)), full
            if name in files and not _PLAIN.fullmatch(name):
                yield name, full
    if path.suffix.lower() == ".zip":
        yield from _quotable_in_zip(path)


def _quotable_in_zip(path: Path) -> Iterator[tuple[str, Path]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError):
        return
    for member in members:
        full = path / member
        for part in (full, *full.parents):
            if part.is_relative_to(path) and part != path:
                yield str(part), part
        if not _PLAIN.fullmatch(full.name):
            yield full.name, full
