"""Folders of a layout, found by name in whatever case and with hyphens, underscores or spaces."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from cov3d.datasets.found import Found, in_words
from cov3d.errors import ScanError

_NEVER_SEARCHED = {"masks", "@eadir", "macosx"}
_NAMED = 5
"""Folders that are each reported; of more, how many there are."""
_OURS = {"preprocessed", "runs", "report"}
"""Folders that cov3d writes into a dataset's folder."""


def plain(name: str) -> str:
    """A folder's name without case, hyphens, underscores and spaces: `Non-COVID` and `non_covid` are one."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones left out, sorted; none where it is missing.

    Raises:
        ScanError: the folder can't be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error


def named(folder: Path, meanings: Mapping[str, Collection[str]]) -> dict[str, list[Path]]:
    """The folders in `folder` by what their names mean, sorted; a meaning without a folder is left out.

    Args:
        meanings: the names, as `plain` gives them, by meaning.
    """
    found = defaultdict(list)
    for name in subfolders(folder):
        for meaning, names in meanings.items():
            if plain(name) in names:
                found[meaning].append(folder / name)
    return dict(found)


def merged(folders: list[Path], root: Path, meaning: str) -> list[str]:
    """A note, if more than one folder has a meaning."""
    if len(folders) < 2:
        return []
    return [f"{in_words(folder.relative_to(root).as_posix() for folder in folders)} are all read as {meaning}"]


def path_in_any_case(root: Path, *names: str) -> Path:
    """`root/name/name…`, as it is written on disk; where it is not there, as given."""
    for name in names:
        exact = root / name
        try:
            same = [] if exact.exists() else [entry for entry in root.iterdir() if plain(entry.name) == plain(name)]
        except OSError:
            same = []
        root = same[0] if len(same) == 1 else exact
    return root


def others(folder: Path, meanings: Mapping[str, Collection[str]]) -> list[Path]:
    """The folders in `folder` whose names mean nothing, but for those that are never searched (`masks`, thumbnails)."""
    meant = {name for names in meanings.values() for name in names}
    return [folder / name for name in subfolders(folder) if plain(name) not in meant | _NEVER_SEARCHED]


def is_searched(name: str) -> bool:
    """Whether a folder of a dataset may hold scans: not label maps, thumbnails, or what cov3d writes."""
    return plain(name) not in _NEVER_SEARCHED | _OURS


def leave_out(folders: Collection[Path], root: Path, why: str, into: Found, known: Collection[Path]) -> None:
    """Report the scans in folders that a layout has no meaning for.

    Args:
        why: follows the folder in the sentence.
        known: folders that are scans and need not be listed.

    Raises:
        ScanError: a folder can't be listed, or its name can't be written.
    """
    from cov3d.readers import search_scans

    sentences = []
    for folder in folders:
        if scans := [scan for scan in search_scans(folder, known).scans if not scan.lost]:
            count = f"its {len(scans)} scans are" if len(scans) > 1 else "its scan is"
            sentences.append(f"{folder.relative_to(root).as_posix()} {why}: {count} left out")
    into.problems += sentences[:_NAMED]
    if len(sentences) > _NAMED:
        into.problems.append(f"and {len(sentences) - _NAMED} more folders, as {sentences[0]}")
