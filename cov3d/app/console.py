"""What the commands say, and how: results on stdout, warnings and errors on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_LINES = 60
RESEARCH_ONLY = "Research use only: not for clinical decisions."


def out() -> Console:
    """The console of results; made anew each time, so that it follows a redirected stdout."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(text: str) -> None:
    """Print a line; square brackets are kept as they are."""
    out().print(escape(text), soft_wrap=True)


def say_warning(text: str) -> None:
    """Print a line that starts with `warning:` on stderr."""
    Console(stderr=True, highlight=False).print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)


def say_error(text: str) -> None:
    """Print a line that starts with `error:` on stderr."""
    Console(stderr=True, highlight=False).print(f"[red]error:[/] {escape(text)}", soft_wrap=True)


def say_some(lines: list[str], most: int | None = 20) -> None:
    """Warn of each of `lines`; past `most` only of how many there are, where they stand in a file in full."""
    for line in lines[:most]:
        say_warning(line)
    if most is not None and len(lines) > most:
        say_warning(f"… and {len(lines) - most} more")


class Advance(Protocol):
    """Tells the progress bar how far the work is, and what to say beside it."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A bar with count, time gone and time left; a plain line a minute where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(what, total=total, note="")
        said = time.monotonic()

        def advance(done: int, note: str = "") -> None:
            nonlocal said
            bar.update(row, completed=done, note=note)
            if not console.is_terminal and time.monotonic() - said > _SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                console.print(f"{what}: {done} of {total} {note}", highlight=False)

        yield advance
