"""Listeners, which receive the sentences, warnings and progress of a function.

The functions of `cov3d.api` print nothing. They report to a listener. The listener of the command line prints; the
default in Python passes warnings on as `Cov3dWarning` and ignores the rest.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Cov3dWarning(UserWarning):
    """A warning about a result."""


class Advance(Protocol):
    """Reports the number of finished steps, with a note."""

    def __call__(self, done: int, note: str = "") -> None: ...


class Listener:
    """The default listener: passes warnings on to Python's warnings and ignores the rest. Others derive from it."""

    def say(self, sentence: str) -> None:
        """Receive a sentence on progress or on a result."""

    def warn(self, sentence: str) -> None:
        """Receive a warning, for example of an optimistic score."""
        warnings.warn(sentence, Cov3dWarning, stacklevel=3)

    def warn_of_all(self, sentences: Sequence[str], most: int | None = 20) -> None:
        """Receive several warnings. After `most`, only the number of the others is reported."""
        for sentence in sentences[:most]:
            self.warn(sentence)
        if most is not None and len(sentences) > most:
            self.warn(f"… and {len(sentences) - most} more")

    def warn_of_left_out(self, sentences: Sequence[str]) -> None:
        """Receive a warning for each file or folder that looks like a scan and is not taken."""
        self.warn_of_all(sentences)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Receive the progress of a task of `total` steps while the block runs."""
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
