"""What the commands say, and how: results on stdout, warnings and errors on stderr."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from cov3d.app.stopping import watched
from cov3d.errors import StoppedError, one_line
from cov3d.listener import Advance, Listener

_SECONDS_BETWEEN_LINES = 60
_WIDEST = 10_000  # columns, of a table that no terminal shows
_SECONDS_OF_PACE = 300  # of rich's estimate; with its usual 30 the time left is wrong by twice as much for slow scans
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
RESEARCH_ONLY = "Research use only: not for clinical decisions."


def out() -> Console:
    """The console of results; made anew each time, so that it follows a redirected stdout."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def speaks() -> bool:
    """Whether this process is the one of its run that speaks: of those that torchrun starts, the first."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def say(text: str) -> None:
    """Print a line as it is, without markup or emoji."""
    if not speaks():
        return
    out().print(_line(text), soft_wrap=True)


def say_warning(text: str) -> None:
    """Print a line that starts with `warning:` on stderr."""
    if not speaks():
        return
    _to_stderr("warning:", "yellow", text)


def say_error(text: str) -> None:
    """Print a line that starts with `error:` on stderr."""
    _to_stderr("error:", "red", text)


def say_note(text: str) -> None:
    """Print a line on stderr as it is."""
    if speaks():
        Console(stderr=True, highlight=False).print(_line(text), soft_wrap=True)


def say_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text on stderr; in a pipe or file each row is one line, however long."""
    if not speaks():
        return
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = _WIDEST
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_line, row))
    console.print(table)


def _to_stderr(word: str, colour: str, text: str) -> None:
    line = Text.assemble((word, colour), " ", _line(text))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def _line(text: str) -> Text:
    """A text in one line; control characters and undecodable bytes, as names of files may have them, are escaped."""
    return Text(_CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), one_line(text)))


def say_some(lines: list[str], most: int | None = 20) -> None:
    """Warn of each of `lines`; past `most` only of how many there are, where they stand in a file in full."""
    for line in lines[:most]:
        say_warning(line)
    if most is not None and len(lines) > most:
        say_warning(f"… and {len(lines) - most} more")


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A bar with count, time gone, rate and time left; a plain line a minute where stderr is no terminal."""
    console = Console(stderr=True)
    with _step_bar(console) as bar:
        row = bar.add_task(what, total=total, beside="")
        printed = time.monotonic()

        def advance(done: int, note: str = "") -> None:
            nonlocal printed
            now = time.monotonic()
            bar.update(row, completed=done)
            beside = ", ".join(part for part in (_pace(bar.tasks[0]), note) if part)
            bar.update(row, beside=beside)
            if not console.is_terminal and now - printed > _SECONDS_BETWEEN_LINES:
                printed = now
                console.print(", ".join([f"{what}: {done} of {total}", beside]), highlight=False, soft_wrap=True)

        yield advance


def _step_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[beside]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        get_time=lambda: time.monotonic(),
        speed_estimate_period=_SECONDS_OF_PACE,
    )


def _pace(task: Task) -> str:
    """How fast the work goes, and when it will be done at that rate; what was there at first is not counted."""
    rate, seconds = task.speed, task.time_remaining
    if not rate or seconds is None:
        return ""
    left = timedelta(seconds=seconds)
    return f"{rate:.1f} a second, {left} left" if rate >= 1 else f"{60 * rate:.1f} a minute, {left} left"


@contextmanager
def bytes_shown(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes, rate and time left of a file that is fetched, where stderr is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total or None)


@contextmanager
def stoppable(what_then: str) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into an error with one sentence, which ends with `what_then`.

    Of such blocks inside each other, the sentence is that of the outermost.

    Raises:
        StoppedError: one of them came.
    """
    with watched() as watch:
        watch.sentences.append(what_then)
        try:
            yield
        except BaseException as error:
            # A library may have made another exception of it.
            if isinstance(error, StoppedError) or not (isinstance(error, KeyboardInterrupt) or watch.number):
                raise
            raise StoppedError(watch.sentence()) from None
        finally:
            watch.sentences.pop()


class Printer(Listener):
    """Prints what the functions of `cov3d.api` say: results on stdout, warnings and progress on stderr."""

    def say(self, sentence: str) -> None:
        say(sentence)

    def warn(self, sentence: str) -> None:
        say_warning(sentence)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        with progress(what, total) as advance:
            yield advance

    @contextmanager
    def download(self, name: str) -> Iterator[Callable[[int, int], None]]:
        with bytes_shown(name) as on_bytes:
            yield on_bytes

    @contextmanager
    def stoppable(self, what_then: str) -> Iterator[None]:
        with stoppable(what_then):
            yield

    @property
    def console(self) -> Console:
        return out()
