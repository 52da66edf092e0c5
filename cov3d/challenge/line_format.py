"""How names stand in a submission file, apart from the code that writes them so that `--help` need not load it."""

from collections.abc import Sequence
from enum import StrEnum

HEADER = "scan"
"""The first line of a file with a header."""


class LineFormat(StrEnum):
    """How names stand in a submission file: a line each, a line each under a header, or one comma-separated row."""

    PLAIN = "plain"
    HEADER = "header"
    ROW = "row"

    def render(self, names: Sequence[str]) -> str:
        """The text of a file of these names; without names there is no line, or the header only."""
        if self == LineFormat.ROW:
            return ",".join(names) + "\n" if names else ""
        lines = [HEADER, *names] if self == LineFormat.HEADER else names
        return "".join(f"{line}\n" for line in lines)
