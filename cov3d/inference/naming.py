"""What scans are named by; apart from `names`, so that the command line knows the words without the readers."""

from enum import StrEnum


class NameBy(StrEnum):
    """What a scan is named by in results: its path, or a short name of its series."""

    PATH = "path"
    SERIES = "series"
