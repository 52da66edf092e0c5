"""Writing files whole or not at all, and claiming the folders that they go to."""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError


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
        _make_folder(file.parent)
        _make_folder(aside.parent)
        yield aside
    except OSError as error:
        raise OutputError(f"{file} can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _make_folder(folder: Path, tries: int = 5) -> None:
    """Make a folder, though another process may be removing an empty one above it."""
    for left in reversed(range(tries)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder for this process as long as the block runs; the end of a process, however it comes, lets it go.

    The file `.lock` stays: were it removed, a process that waits at the old one and one that makes a new one would both
    hold the folder.

    Args:
        folder: made if it is missing.
        what: what works in it, for the error.

    Raises:
        OutputError: another process holds it, or it can't be written.
    """
    lock = folder / ".lock"
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(lock.open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another {what} works in {folder}: wait for it, or give another --output-dir") from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks
                raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
        yield


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
    """Make `folder` ready for results before the work that makes them begins.

    Args:
        folder: made if it is missing.
        names: the files and folders that the results will be; with `overwrite`, those that are there are removed, so
            that what stands in the folder afterwards is of one run. Other files stay.
        overwrite: whether results that are there may go.
        what: what the results are, for the error.

    Raises:
        OutputError: there are results already and `overwrite` is not set, or the folder can't be written.
    """
    try:
        present = [folder / name for name in names if (folder / name).exists()]
        if present and not overwrite:
            raise OutputError(f"{folder} holds {what} already: give another --output-dir, or --overwrite")
        folder.mkdir(parents=True, exist_ok=True)
        for path in present:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        probe = folder / f".{secrets.token_hex(8)}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
