"""Ctrl-C, SIGTERM and SIGHUP end a command in order, from its first moment to the end of its process.

What this file decides:

- The first signal raises `Stop` in the main thread, so that files that are half written are removed. A second one soon
  after does nothing: people press Ctrl-C twice, and batch systems signal every process of a group. A later one ends the
  process at once.
- While modules are imported for a command that has not begun, nothing is to be tidied up, and an exception may be lost
  in foreign code or crash it: the process ends at once. While they are imported in the middle of work, `Stop` waits.
- While a process is being started, `Stop` waits too: half started, it would print a traceback.
- Code of others may swallow the exception. So it is raised again until it has come through. Python itself swallows it
  where an object is deleted, and would print its traceback.
- A forked process leaves Ctrl-C to its parent, and ends without a word when its parent terminates it.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
_Handler = Callable[[int, FrameType | None], object] | signal.Handlers | int | None
_SIGNALS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "stopped by SIGTERM",
    signal.SIGHUP: "stopped by SIGHUP",
}
_RERUN = "its results are incomplete: run the command again, with --overwrite if results are there already"
_UNTOUCHED = "nothing was changed"
_GOES_ON = "what was done is kept, and the same command continues"
WHAT_THEN = {
    "phantom": "the dataset is incomplete: delete its folder before you run the command again",
    "folds": "no scan table was half written: run the command again",
    "preprocess": f"{_GOES_ON} from here",
    "weights": "no file of weights was half written: run the command again",
    "experiments": _UNTOUCHED,
    "train": "every epoch that was finished is kept, and --resume continues",
    "tune": "every trial that has ended is kept, and the same command continues",
    "crossval": "every epoch that was finished is kept, and the same command continues",
    "validate": _RERUN,
    "compare": _RERUN,
    "ensemble": _RERUN,
    "infer": _RERUN,
    "submit": f"{_GOES_ON}; where submissions are there already, with --overwrite",
    "check-submission": _UNTOUCHED,
    "explain": _UNTOUCHED,
    "export": "no exported file was half written: run the command again",
    "report": "the report is incomplete: run the command again",
    "demo": "the demo is incomplete: run the command again, with --overwrite if its folder is there already",
}
"""By command, what becomes of what was done; `stoppable` says it more precisely while it is in force."""

_OF_SEVERAL = ("crossval", "demo")
"""Commands that call others, whose sentences do not hold for the whole."""

_PATIENCE = 2.0
"""Seconds in which a second signal is taken for the first."""

_SECONDS_BETWEEN_TRIES = 0.1
_STARTS_PROCESSES = "popen_spawn_posix.py"
"""The file of Python's multiprocessing that starts a process, and then sends it what it needs."""

_PACKAGE = Path(__file__).parents[1]
_APP = Path(__file__).parent


class Stop(KeyboardInterrupt):
    """A signal asks this process to end."""


class Watch:
    """Waits for the signals, and knows the sentence that a command ends with when one has come.

    Attributes:
        number: the first signal that came; None as long as none has.
        sentences: of the `stoppable` blocks that are being run, outermost first.
    """

    def __init__(self, command: str) -> None:
        self.number: int | None = None
        self.sentences: list[str] = []
        self._command, self._process, self._came = command, os.getpid(), 0.0
        self._is_settled = False

    def settle(self) -> None:
        """Raise nothing from here on: the work is over, or its end is being reported."""
        self._is_settled = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    def sentence(self, number: int | None = None) -> str:
        """What to print: which signal came (by default the one that has), and what becomes of what was done."""
        precise = self.sentences[0] if self.sentences and self._command not in _OF_SEVERAL else None
        then = precise or WHAT_THEN.get(self._command) or _UNTOUCHED
        return f"{_SIGNALS[signal.Signals(number or self.number or signal.SIGINT)]}: {then}"

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle one of the signals."""
        if os.getpid() != self._process:
            if number != signal.SIGINT:
                os._exit(0)  # torch's watch over its loading processes would make an error of another code
            return
        if self._is_settled:
            _end_with_exit_code(number, frame)
        if self.number is not None:
            if time.monotonic() - self._came > _PATIENCE:
                self._end_at_once()
            return
        self.number, self._came = number, time.monotonic()
        self.on_timer(number, frame)

    def on_timer(self, number: int, frame: FrameType | None) -> None:
        """Raise `Stop`, unless it is on its way already or has to wait; try again a little later."""
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_TRIES)
        if _is_on_its_way(sys.exception()):
            return
        importing, starting, working = _activity(frame)
        if importing and not working and not self.sentences:
            self._end_at_once()
        if not (importing or starting):
            raise Stop

    def _end_at_once(self) -> None:
        if _is_first_process():
            os.write(2, f"error: {self.sentence()}\n".encode("ascii", "backslashreplace"))
        os._exit(EXIT_CODE)


def _is_first_process() -> bool:
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def _is_on_its_way(error: BaseException | None) -> bool:
    """Whether the exception that is being handled comes from a `Stop`: then the command is tidying up."""
    while error is not None:
        if isinstance(error, Stop):
            return True
        error = error.__cause__ or error.__context__
    return False


def _activity(frame: FrameType | None) -> tuple[bool, bool, bool]:
    """Whether a module is being imported, a process is being started, and a function of cov3d outside `app` is run."""
    importing = starting = working = False
    while frame is not None:
        code = frame.f_code
        importing |= code.co_filename.startswith("<frozen importlib")
        starting |= code.co_filename.endswith(_STARTS_PROCESSES)
        if code.co_name != "<module>" and not working:
            file = Path(code.co_filename)
            working = file.is_relative_to(_PACKAGE) and not file.is_relative_to(_APP)
        frame = frame.f_back
    return importing, starting, working


_watch: Watch | None = None


@contextmanager
def watched(command: str = "", *, ends_process: bool = False) -> Iterator[Watch]:
    """Handle the signals as long as the block runs; inside another such block, it is the other that does.

    Ctrl-C and SIGHUP are left alone where they are ignored already, as in the background and under `nohup`. In a thread
    that gets no signals nothing is changed.

    Args:
        command: the command that is run, for the sentence.
        ends_process: whether nothing is done after the block. Then a signal that comes there has nothing to say, and
            nothing in Python's own end to disturb.
    """
    global _watch
    if _watch is not None or threading.current_thread() is not threading.main_thread():
        yield _watch or Watch(command)
        return
    _watch = watch = Watch(command)
    if ends_process:
        atexit.register(_ignore_all)  # runs last: Python then forgets handlers, and a signal would kill
    before, print_unraisable = _handle(watch), sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Stop) else print_unraisable(lost)
    try:
        yield watch
    finally:
        _watch, sys.unraisablehook = None, print_unraisable
        if ends_process:
            _leave_quietly([number for number in before if number != signal.SIGALRM])
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)


def _handle(watch: Watch) -> dict[signal.Signals, _Handler]:
    """Install the handlers; those that were there before, by signal."""
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {signal.SIGALRM: watch.on_timer}
    for number in _SIGNALS:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            handlers[number] = watch.on_signal
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def _leave_quietly(numbers: list[signal.Signals]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in numbers:
        signal.signal(number, _end_with_exit_code)


def _ignore_all() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


_exit_code = EXIT_CODE


def will_exit_with(code: int) -> None:
    """Set the exit code of a process that a signal meets when its work is over."""
    global _exit_code
    _exit_code = code


def _end_with_exit_code(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(_exit_code)
