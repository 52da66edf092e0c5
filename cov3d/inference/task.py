"""The two tasks of the challenge. A separate module, so that `--help` loads nothing else."""

from enum import StrEnum


class Task(StrEnum):
    """A task of the challenge, or both."""

    PRESENCE = "presence"
    SEVERITY = "severity"
    BOTH = "both"
