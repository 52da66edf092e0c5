"""The challenge's two tasks, apart from the code that serves them so that `--help` need not load it."""

from enum import StrEnum


class Task(StrEnum):
    """Which of the challenge's two tasks files are written for."""

    PRESENCE = "presence"
    SEVERITY = "severity"
    BOTH = "both"
