"""Words for messages."""


def counted(count: int, noun: str) -> str:
    """A number and a noun whose plural ends in s: `1 scan`, `2 scans`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
