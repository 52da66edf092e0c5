"""Results of several files, put in place together when all of them are written.

Until then an earlier result stays as it is: a scan that can't be read, a full disk or a kill takes nothing away. The
files are written to `.staged` in the folder of the results, so on the same file system. When all are written, that
folder is renamed to `.complete` and they are moved from there. A kill in between leaves `.complete`, and the next
command on the folder moves the rest.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError
from cov3d.files import STAGE, check_writable, remove

_COMPLETE = ".complete"
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
    interrupted = (folder / _COMPLETE).exists()
    if interrupted:
        _put_in_place(folder, names)
    if not (overwrite or interrupted) and any((folder / name).exists() for name in names):
        raise OutputError(f"{folder} holds {what} already: give another --output-dir, or --overwrite")
    check_writable(folder)


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
    try:
        remove(stage)
        stage.mkdir(parents=True)
        yield stage
        remove(folder / _COMPLETE)
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
    """Move the complete results to their places, and remove what is left of earlier ones."""
    complete = folder / _COMPLETE
    try:
        for old, new in ((folder / name, complete / name) for name in names):
            if old.is_dir() or not new.is_file():
                remove(old)
        for new in sorted(path for path in complete.rglob("*") if not path.is_dir()):
            place = folder / new.relative_to(complete)
            place.parent.mkdir(parents=True, exist_ok=True)
            new.replace(place)
        remove(complete)
    except OSError as error:
        raise OutputError(
            f"the results in {folder / _COMPLETE} can't be put in place: {error.strerror or error}; the same command "
            "does it when that is mended"
        ) from error
