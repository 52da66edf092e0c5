"""What ends a command → one sentence on stderr and an exit code."""

import os
import re

from cov3d.app.console import say_error, speaks
from cov3d.app.stopping import EXIT_CODE, Watch
from cov3d.errors import Cov3dError, PeerLostError, StoppedError

_BAD_INPUT = 2


def report(error: BaseException, watch: Watch) -> int:
    """Print the sentence of an error, and return the exit code.

    Raises:
        BaseException: the error again, where it is an internal one.
    """
    if isinstance(error, StoppedError | PeerLostError):
        if speaks():  # every process of a run is stopped at once, or by another
            say_error(str(error))
        return error.exit_code
    if watch.number is not None or isinstance(error, KeyboardInterrupt):  # whatever a library has made of it
        if speaks():
            say_error(watch.sentence())
        return EXIT_CODE
    if isinstance(error, Cov3dError):
        for sentence in (*getattr(error, "__notes__", ()), str(error)):
            say_error(sentence)
        return error.exit_code
    sentence = _of_usage(error) or _of_system(error) or _of_name(error)
    if sentence is None:
        raise error
    say_error(sentence)
    return _BAD_INPUT


def _of_usage(error: BaseException) -> str | None:
    """An option or argument that can't be; typer brings its own copy of click, so there is no class to ask for."""
    if not hasattr(error, "format_message"):
        return None
    text = re.sub(r"\s+", " ", error.format_message()).strip().removesuffix(".")
    context = getattr(error, "ctx", None)
    return text if context is None else f"{text}: see {context.command_path} --help"


def _of_system(error: BaseException) -> str | None:
    """A file or folder that the system refuses."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.filename is None:
        return f"a file can't be read or written: {error.strerror}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return f"{name} can't be read or written: {error.strerror}"


def _of_name(error: BaseException) -> str | None:
    """The name of a file that is not text in the encoding of names, and so can't stand in a table."""
    if not isinstance(error, UnicodeEncodeError) or not error.reason.startswith("surrogates"):
        return None
    around = re.search(r"[^\s,;\"']*[\udc80-\udcff][^\s,;\"']*", error.object)
    name = error.object[error.start : error.end] if around is None else around.group()
    return (
        f"{name}: the name of this file or folder is not UTF-8, so no table can hold it: rename it, or set PYTHONUTF8=1"
    )
