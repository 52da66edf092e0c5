"""stdout and stderr as they may be: of few signs, closed, or with nobody and nothing to take what is printed.

What this file decides: printing never ends a command. A sign that the encoding lacks is replaced by words or by ASCII;
what can't be written is lost, and reported at the end. So a training whose log is on a full disk is trained to its
end, and `cov3d experiments | head -1` is silent.
"""

import codecs
import errno
import io
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_ERRORS = "cov3d.readable"
_ASCII = {
    **{"…": "...", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "\xa0": " ", "·": "*", "•": "*"},
    **{"→": "->", "←": "<-", "↔": "<->", "≤": "<=", "≥": ">=", "≈": "~", "×": "x", "±": "+/-", "½": "1/2"},
    **{"‘": "'", "’": "'", "“": '"', "”": '"', "°": " degrees", "√": "sqrt", "∞": "inf", "✓": "ok"},
}
_HORIZONTAL, _VERTICAL = "─━═╌╍┄┅┈┉╴╶╸╺╼╾", "│┃║╎╏┆┇┊┋╵╷╹╻╽╿"


def readable(sign: str) -> str:
    """ASCII in the place of a sign: for mathematics and frames what one reads, for letters of names their number."""
    if sign in _ASCII:
        return _ASCII[sign]
    if sign in _HORIZONTAL:
        return "-"
    if sign in _VERTICAL:
        return "|"
    if "\u2500" <= sign <= "\u257f":
        return "+"
    if "\u2580" <= sign <= "\u259f":
        return "#"
    if "\u2800" <= sign <= "\u28ff":  # what turns while one waits
        return "*"
    name = unicodedata.name(sign, "").split()
    if name[:3:2] == ["GREEK", "LETTER"] and len(name) == 4:
        word = name[3].replace("LAMDA", "LAMBDA")  # as Unicode spells it
        return word.lower() if name[1] == "SMALL" else word.title()
    if name[:1] in (["SUPERSCRIPT"], ["SUBSCRIPT"]):
        return unicodedata.normalize("NFKD", sign)
    return sign.encode("ascii", "backslashreplace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(readable, error.object[error.start : error.end])), error.end


codecs.register_error(_ERRORS, _replace)


class _Sink(io.FileIO):
    """A file descriptor that takes everything; what can't be written is lost.

    Attributes:
        failure: why something could not be, the first time.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        data = memoryview(content).cast("B")
        rest = data
        try:
            while len(rest):
                written = super().write(rest)
                if written is None:  # a pipe that does not wait, and is full
                    select.select([], [self], [])
                rest = rest[written or 0 :]
        except OSError as error:
            self.failure = self.failure or error
        return len(data)


class Terminal:
    """What became of the output of a command."""

    def __init__(self, stdout: _Sink | None) -> None:
        self._stdout = stdout

    def failure(self) -> OSError | None:
        """Why something could not be written to stdout, with all that was printed until now."""
        _flush()
        return None if self._stdout is None else self._stdout.failure


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def nobody_reads(failure: OSError) -> bool:
    """Whether the reader of a pipe has ended, or the terminal was closed: then there is nobody to tell."""
    return failure.errno in (errno.EPIPE, errno.EIO)


@contextmanager
def forgiving(*, ends_process: bool = False) -> Iterator[Terminal]:
    """Make stdout and stderr take everything as long as the block runs.

    Streams that something else has put in their place are left as they are.

    Args:
        ends_process: whether nothing is done after the block; then they stay so, for what Python prints at its end.
    """
    before = sys.stdout, sys.stderr
    if ends_process:
        _open_low_descriptors()
    stdout, _ = _replace_stream("stdout"), _replace_stream("stderr")
    try:
        yield Terminal(stdout)
    finally:
        if not ends_process:
            _flush()
            sys.stdout, sys.stderr = before


def _open_low_descriptors() -> None:
    """Open stdin, stdout and stderr where they are closed: else the next file gets their number and their output."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def _replace_stream(name: str) -> _Sink | None:
    stream = getattr(sys, name)
    if stream is None:
        setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  until the process ends
        return None
    if stream is not getattr(sys, f"__{name}__") or not isinstance(stream, io.TextIOWrapper):
        return None
    with suppress(OSError):
        stream.flush()
    sink = _Sink(stream.fileno(), "w", closefd=False)
    strict = stream.errors in ("strict", "surrogateescape") or name == "stderr"
    wrapped = io.TextIOWrapper(
        sink if stream.write_through else io.BufferedWriter(sink),
        encoding=stream.encoding,
        errors=_ERRORS if strict else stream.errors,
        line_buffering=stream.line_buffering or name == "stderr",
        write_through=stream.write_through,
    )
    setattr(sys, name, wrapped)
    return sink
