"""Results of several files, which are moved into place together when all of them are written.

Until then, an earlier result is unchanged: an unreadable scan, a full disk or a kill loses nothing. The files are
written to `.staged` in the folder of the results, on the same file system. When all are written, this folder is renamed
to `.complete`, earlier files without a successor are removed, the folder is renamed to `.moving`, and each file is
moved into place. If the command is killed in between, the next command on the folder finishes the work.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError
from cov3d.files import STAGE, check_writable, remove
from cov3d.locks import folder_lock

_COMPLETE, _MOVING = ".complete", ".moving"
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""Errors that mean that the disk is full or can't be written."""


def check_free(folder: Path, names: Iterable[str], *, overwrite: bool, what: str) -> None:
    """Check, before the work begins, that results can be written to `folder`.

    Args:
        folder: made if it is missing. The command must have locked it (`locks.folder_lock`).
        names: files and folders of the results.
        overwrite: whether an earlier result may be replaced. A result whose command was killed while moving it into
            place is always replaced.
        what: a name for the results, for the error.

    Raises:
        OutputError: there is an earlier result and `overwrite` is not set, or the folder can't be written.
    """
    names = list(names)
    interrupted = any((folder / name).exists() for name in (_COMPLETE, _MOVING))
    if interrupted:
        _put_in_place(folder, names)
    if not (overwrite or interrupted) and any((folder / name).exists() for name in names):
        raise OutputError(f"{folder} already holds {what}: give another --output-dir, or --overwrite")
    check_writable(folder)


@contextmanager
def claimed(folder: Path, names: Iterable[str], *, overwrite: bool, what: str, command: str) -> Iterator[None]:
    """Lock a folder while the block runs and check that it is free: see `locks.folder_lock` and `check_free`."""
    with folder_lock(folder, command, removes=True):
        check_free(folder, names, overwrite=overwrite, what=what)
        yield


@contextmanager
def staged(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """A folder to write results to. At the end of the block, they replace the earlier results in `folder`.

    If the block ends with an error, its files are removed and the earlier result is kept.

    Args:
        folder: of the results. The command must have locked it (`locks.folder_lock`).
        names: files and folders of the results. Earlier ones that were not written again are removed. Other files in
            `folder` are kept.

    Raises:
        OutputError: the results can't be written.
    """
    stage = folder / STAGE
    _put_in_place(folder, names := list(names))  # finish the work of a command that was killed
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
    """Move complete results into place, or finish this; do nothing if there are none."""
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
            f"the results can't be moved into {folder}: {error.strerror or error}; fix this and run the same command "
            "again"
        ) from error
