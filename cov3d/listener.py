"""Who hears what a long piece of work has to say: sentences, warnings, progress.

The functions of `cov3d.api` print nothing. They speak to a listener: the command line's prints, and the one that Python
gets by default passes warnings on as `Cov3dWarning` and is silent otherwise.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Cov3dWarning(UserWarning):
    """Something that a user should know about a result."""


class Advance(Protocol):
    """Tells how far the work is, and what to say beside it."""

    def __call__(self, done: int, note: str = "") -> None: ...


class Listener:
    """A listener that passes warnings on to Python's, and hears nothing else. Others derive from it."""

    def say(self, sentence: str) -> None:
        """Hear of what is done, or of a result."""

    def warn(self, sentence: str) -> None:
        """Hear of what a user should know, such as a score that flatters."""
        warnings.warn(sentence, Cov3dWarning, stacklevel=3)

    def warn_of_all(self, sentences: Sequence[str], most: int | None = 20) -> None:
        """Hear of each of `sentences`; past `most` only of how many there are."""
        for sentence in sentences[:most]:
            self.warn(sentence)
        if most is not None and len(sentences) > most:
            self.warn(f"… and {len(sentences) - most} more")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Hear of how far a piece of work is, as long as the block runs."""
        yield lambda done, note="": None

    @contextmanager
    def download(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Hear of how much of a file has been fetched, in bytes, and of its size (0 where unknown)."""
        yield lambda done, total: None

    @contextmanager
    def stoppable(self, what_then: str) -> Iterator[None]:
        """Hear of what becomes of the work if the block is stopped, such as by Ctrl-C."""
        yield

    @property
    def console(self) -> "Console | None":
        """Where training shows its epochs as they go; None for nowhere."""
        return None


SILENT = Listener()
