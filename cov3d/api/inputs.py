"""What several functions of the API begin with: the scan table, the store's folder, the place of what they write."""

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.errors import Cov3dError, DatasetError, OutputError, ScanError
from cov3d.listener import Listener
from cov3d.preprocessing.sizes import Size

if TYPE_CHECKING:
    import pandas as pd

_MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


def scan_table(data: Path, table: Path | None, listener: Listener, *, strict: bool) -> "pd.DataFrame":
    """The dataset's scan table: made and saved where there is none, compared with the dataset where there is one.

    Args:
        data: root folder of the dataset.
        table: the file; None for `scans.csv` in `data`.
        listener: hears what was made, and how the table differs from the dataset.
        strict: whether a table that does not fit the dataset any more is an error, not a warning.

    Raises:
        DatasetError: the dataset or the table can't be read, or does not fit and `strict` is set.
        OutputError: a new table can't be written.
    """
    from cov3d.datasets import scan_table as tables

    file = table or data / tables.FILE_NAME
    with elsewhere("--table", table):
        found, problems = tables.load_or_build(data, file, seed=0)
    if problems is not None:
        listener.warn_of_all(problems, most=None)
        listener.say(f"made the scan table {file} ({len(found)} scans)")
    else:
        warn_if_stale(data, file, found, listener, strict=strict)
    return found


def warn_if_stale(data: Path, file: Path, table: "pd.DataFrame", listener: Listener, *, strict: bool) -> None:
    """Warn if a scan table, read from `file`, no longer fits the dataset.

    Raises:
        DatasetError: it does not fit, and `strict` is set.
    """
    from cov3d.datasets.stale import stale_sentence

    sentence = stale_sentence(data, file, table)
    if sentence and strict:
        raise DatasetError(sentence)
    if sentence:
        listener.warn(sentence)


def store_folder(data: Path, store: Path | None, size: Size) -> Path:
    """Where the store is, given or by default."""
    return store or data / "preprocessed" / size.value


@contextmanager
def elsewhere(option: str, given: object) -> Iterator[None]:
    """Where a default place can only be read, as shared data often is, name the option that gives another one.

    Args:
        option: as on the command line.
        given: its value; nothing is added where there is one.

    Raises:
        OutputError: as in the block, with the option.
    """
    try:
        yield
    except OutputError as error:
        number = getattr(error.__cause__, "errno", None)
        if given is not None or number not in _MAY_NOT_WRITE:
            raise
        raise OutputError(f"{error}: give another place with {option}") from error


@contextmanager
def skipping_named(scans: Collection[str], *, skip_errors: bool) -> Iterator[None]:
    """If one of several scans can't be read, name the option that skips it.

    Args:
        scans: names of the scans.
        skip_errors: whether the option is given already.

    Raises:
        ScanError: as in the block, with the option.
    """
    try:
        yield
    except ScanError as error:
        if skip_errors or len(scans) < 2 or "--skip-errors" in str(error):
            raise
        raise ScanError(f"{error}; to skip scans that can't be read, give --skip-errors") from error


def path_or_none(given: str | Path | None) -> Path | None:
    """A path that a caller may give as text."""
    return None if given is None else Path(given)


def as_size(size: str) -> Size:
    """A size that may be given as text.

    Raises:
        Cov3dError: there is none of this name.
    """
    try:
        return Size(size)
    except ValueError:
        raise Cov3dError(f"size is one of {', '.join(Size)}, not {size!r}") from None
