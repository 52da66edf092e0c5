"""Command lines in processes of their own: with another terminal, another disk, or a signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

WORDS = (sys.executable, "-m", "cov3d")


def started(*words: object, environment: Mapping[str, str] | None = None, **how: object) -> "subprocess.Popen[str]":
    """A command in a session of its own, as a terminal or a batch system starts it."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*WORDS, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        # What a shell runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **how,
    )


def stopped(running: "subprocess.Popen[str]", *numbers: signal.Signals) -> tuple[int, str]:
    """Send signals to a command and all of its processes; its exit code and what it printed on stderr."""
    for number in numbers:
        os.killpg(running.pid, number)
        time.sleep(0.05)
    _, reported = running.communicate(timeout=60)
    return running.returncode, reported


def until(running: "subprocess.Popen[str]", what: Callable[[], bool]) -> None:
    """Wait until something is so, while a command runs."""
    end = time.monotonic() + 60
    while not what():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def has_loaded(running: "subprocess.Popen[str]", library: str) -> bool:
    """Whether a process has mapped a shared library, or is about to end."""
    try:
        return library in Path(f"/proc/{running.pid}/maps").read_text()
    except OSError:
        return False
