"""Write files completely or not at all, and prepare folders for results."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError
from cov3d.locks import folder_lock as folder_lock

STAGE = ".staged"
"""The subfolder of a folder of results in which files are written before they are moved into place: see `results`."""


@contextmanager
def replacing(file: Path, aside_in: Path | None = None) -> Iterator[Path]:
    """A temporary path to write to, which replaces `file` in one step when the block ends without an error.

    Its name is random, so that several processes, on several machines, may write the same file at once: the last one
    wins. It is in the folder of `file`, or in `aside_in`, which must be on the same file system.

    Raises:
        OutputError: a folder can't be made or written.
    """
    with _aside(file, aside_in) as aside:
        yield aside
        aside.replace(file)


@contextmanager
def _aside(file: Path, folder: Path | None) -> Iterator[Path]:
    aside = (folder or file.parent) / f".{secrets.token_hex(8)}.part"
    try:
        make_folder(file.parent)
        make_folder(aside.parent)
        yield aside
    except OSError as error:
        raise OutputError(f"{in_place(file)} can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def in_place(path: Path) -> Path:
    """The final path of a file in a staged result; other paths are returned unchanged."""
    return Path(*(part for part in path.parts if part != STAGE))


def make_folder(folder: Path, tries: int = 5) -> None:
    """Make a folder, even if another process is removing an empty parent folder at the same time."""
    for left in reversed(range(tries)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


def remove_aside(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder. No process may be writing there."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):
            left.unlink()


def write_text(file: Path, text: str, aside_in: Path | None = None) -> None:
    """Write a UTF-8 text file, completely or not at all; `aside_in` as in `replacing`."""
    with replacing(file, aside_in) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_text_once(file: Path, text: str, aside_in: Path | None = None) -> None:
    """Write a UTF-8 text file unless it exists. Of several processes at once, the first wins."""
    with _aside(file, aside_in) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
        try:
            os.link(aside, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links, where the last process wins
            aside.replace(file)


def claim_folder(folder: Path, names: Iterable[str], *, overwrite: bool, what: str) -> None:
    """Prepare `folder` for a run: remove the files of an earlier run.

    Commands that write all results at the end use `results.staged` instead.

    Args:
        folder: made if it is missing.
        names: files and folders of a run. Other files are kept.
        overwrite: whether existing ones may be removed.
        what: a name for them, for the error.

    Raises:
        OutputError: some exist and `overwrite` is not set, or the folder can't be written.
    """
    present = [folder / name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise OutputError(f"{folder} already holds {what}: give another --output-dir, or --overwrite")
    check_writable(folder)
    for path in present:
        try:
            remove(path)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error


def check_writable(folder: Path) -> None:
    """Make `folder` if it is missing, and check that files can be written there.

    Raises:
        OutputError: it can't be made or written.
    """
    probe = folder / f".{secrets.token_hex(8)}.part"
    try:
        make_folder(folder)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its content. It may be missing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """The checksum of a file, in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
