"""Counts and numbers in words, for notes and errors."""

from collections.abc import Iterable


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: `1 slice`, `2 slices`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def in_ranges(numbers: Iterable[int]) -> str:
    """Numbers in ascending order, consecutive ones as a range: `1-3, 7`."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
