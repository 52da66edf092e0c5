"""Writing files whole or not at all, and claiming the folders that they go to."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError
from cov3d.locks import held as held

STAGE = ".staged"
"""The folder, inside a folder of results, in which they are written before they are put in place: see `results`."""


@contextmanager
def replacing(file: Path, aside_in: Path | None = None) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, it takes the place of `file` in one step.

    Its name is drawn at random, so that several processes, on several machines, may write one file at once and the
    last one wins whole. It lies beside `file`, or in the folder `aside_in`, which must be on the same file system.

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
    """Where a file of a staged result will be in the end; any other path is returned as it is."""
    return Path(*(part for part in path.parts if part != STAGE))


def make_folder(folder: Path, tries: int = 5) -> None:
    """Make a folder, though another process may be removing an empty one above it."""
    for left in reversed(range(tries)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


def remove_aside(folder: Path) -> None:
    """Remove what `replacing` left in a folder when its process was killed; nobody may be writing there."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):
            left.unlink()


def write_text(file: Path, text: str, aside_in: Path | None = None) -> None:
    """Write a UTF-8 text file whole; `aside_in` as in `replacing`."""
    with replacing(file, aside_in) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_text_once(file: Path, text: str, aside_in: Path | None = None) -> None:
    """Write a UTF-8 text file whole, unless there is one: of several processes at once, the first wins."""
    with _aside(file, aside_in) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
        try:
            os.link(aside, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links: there, the last one wins
            aside.replace(file)


def claim_folder(folder: Path, names: Iterable[str], *, overwrite: bool, what: str) -> None:
    """Make `folder` ready for a run: what an earlier one left there is removed before the new one begins.

    Commands that write all their results at the end use `results.staged` instead.

    Args:
        folder: made if it is missing.
        names: the files and folders of a run; with `overwrite`, those that are there are removed. Other files stay.
        overwrite: whether they may be removed.
        what: what they are, for the error.

    Raises:
        OutputError: there are some and `overwrite` is not set, or the folder can't be written.
    """
    present = [folder / name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise OutputError(f"{folder} holds {what} already: give another --output-dir, or --overwrite")
    check_writable(folder)
    for path in present:
        try:
            remove(path)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error


def check_writable(folder: Path) -> None:
    """Make `folder` if it is missing, and make sure that files can be written there before the work begins.

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
    """Remove a file, a link or a folder with all that is in it; a missing one is no error."""
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
