"""Results of several files, put in place together when all of them are written.

Until then an earlier result stays as it is: a scan that can't be read, a full disk or a kill takes nothing away. The
files are written to `.staged` in the folder of the results, so on the same file system. When all are written, that
folder is renamed to `.complete`, earlier files that have no successor are removed, it is renamed to `.moving`, and each
file is moved from there over the earlier one. After a kill in between, the next command on the folder does the rest.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError
from cov3d.files import STAGE, check_writable, remove
from cov3d.locks import held

_COMPLETE, _MOVING = ".complete", ".moving"
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""Errors of a block that writes results which say that the disk is full or can't be written."""


def check_free(folder: Path, names: Iterable[str], *, overwrite: bool, what: str) -> None:
    """Make sure, before the work begins, that results can be written to `folder`.

    Args:
        folder: made if it is missing. The command holds it, `locks.held`.
        names: files and folders that the results consist of.
        overwrite: whether an earlier result may be replaced. One whose command was killed while it was put in place
            may be replaced in any case.
        what: what the results are, for the error.

    Raises:
        OutputError: there is an earlier result and `overwrite` is not set, or the folder can't be written.
    """
    names = list(names)
    interrupted = any((folder / name).exists() for name in (_COMPLETE, _MOVING))
    if interrupted:
        _put_in_place(folder, names)
    if not (overwrite or interrupted) and any((folder / name).exists() for name in names):
        raise OutputError(f"{folder} holds {what} already: give another --output-dir, or --overwrite")
    check_writable(folder)


@contextmanager
def claimed(folder: Path, names: Iterable[str], *, overwrite: bool, what: str, command: str) -> Iterator[None]:
    """Hold a folder of results as long as the block runs, free for them: see `locks.held` and `check_free`."""
    with held(folder, command, removes=True):
        check_free(folder, names, overwrite=overwrite, what=what)
        yield


@contextmanager
def staged(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """A folder to write results to; at the end of the block they take the place of the earlier ones in `folder`.

    If the block ends with an error, what it wrote is removed and the earlier result stays.

    Args:
        folder: of the results. The command holds it, `locks.held`.
        names: files and folders that results consist of: an earlier one that was not written again is removed. Other
            files in `folder` stay.

    Raises:
        OutputError: the results can't be written.
    """
    stage = folder / STAGE
    _put_in_place(folder, names := list(names))  # what an earlier command was killed at
    try:
        remove(stage)
        stage.mkdir(parents=True)
        yield stage
        stage.rename(folder / _COMPLETE)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE and error.filename is not None and STAGE not in str(error.filename):
            raise
        raise OutputError(f"the results can't be written to {folder}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            remove(stage)
    _put_in_place(folder, names)


def _put_in_place(folder: Path, names: Iterable[str]) -> None:
    """Do what is left to do, if anything, to put complete results in the places of earlier ones."""
    complete, moving = folder / _COMPLETE, folder / _MOVING
    try:
        if complete.exists():
            for name in names:
                if (folder / name).is_dir() or not (complete / name).is_file():
                    remove(folder / name)
            complete.rename(moving)
        for new in sorted(path for path in moving.rglob("*") if not path.is_dir()):
            place = folder / new.relative_to(moving)
            place.parent.mkdir(parents=True, exist_ok=True)
            new.replace(place)
        remove(moving)
    except OSError as error:
        raise OutputError(
            f"the results can't be put in place in {folder}: {error.strerror or error}; the same command does it when "
            "that is mended"
        ) from error
