"""Writing files whole or not at all, and claiming the folders that they go to."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, it takes the place of `file` in one step.

    Its name is drawn at random, so that several processes, on several machines, may write one file at once and the
    last one wins whole.

    Raises:
        OutputError: the folder can't be made or written.
    """
    aside = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(file)
    except OSError as error:
        raise OutputError(f"{file} can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with replacing(file) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def claim_folder(folder: Path, names: Iterable[str], *, overwrite: bool, what: str) -> None:
    """Make `folder` ready for results before the work that makes them begins.

    Args:
        folder: made if it is missing.
        names: the files that the results will be; with `overwrite`, those that are there are removed, so that what
            stands in the folder afterwards is of one run. Other files stay.
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
        for file in present:
            file.unlink()
        probe = folder / f".{secrets.token_hex(8)}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
