"""Writing files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cov3d.errors import OutputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, it takes the place of `file` in one step.

    The name carries the process, so that several may write one file at once and the last one wins whole.

    Raises:
        OutputError: the folder can't be made or written.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
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
