"""What the commands say, and how: results on stdout, warnings and errors on stderr."""

import sys
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


def say_some(lines: list[str], most: int = 20) -> None:
    """Warn of each of `lines`, the first `most` in full and the rest as a count."""
    for line in lines[:most]:
        say_warning(line)
    if len(lines) > most:
        say_warning(f"… and {len(lines) - most} more")


class Advance(Protocol):
    """Tells the progress bar how far the work is, and what to say beside it."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A bar with count, time gone and time left; nothing where stderr is no terminal."""
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

        def advance(done: int, note: str = "") -> None:
            bar.update(row, completed=done, note=note)

        yield advance
