"""The format of names in submission files. It is separate from the code that writes them, so that `--help` is fast."""

from collections.abc import Sequence
from enum import StrEnum

HEADER = "scan"
"""The first line of a file with a header."""


class LineFormat(StrEnum):
    """Format of a submission file: a name a line, the same below a header, or one comma-separated row."""

    PLAIN = "plain"
    HEADER = "header"
    ROW = "row"

    def render(self, names: Sequence[str]) -> str:
        """The text of a file with these names; without names it is empty, or has the header only."""
        if self == LineFormat.ROW:
            return ",".join(names) + "\n" if names else ""
        lines = [HEADER, *names] if self == LineFormat.HEADER else names
        return "".join(f"{line}\n" for line in lines)
