"""PHAROS's tables of centres (`ct_scan_name,data_centre`) → the centre of each scan that has one without doubt."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from cov3d.datasets.found import in_words
from cov3d.datasets.rows import Row, read_rows
from cov3d.errors import DatasetError

COLUMNS = ("ct_scan_name", "data_centre")
_NAME_COLUMNS = (COLUMNS[0], "ct_scan", "scan_name", "scan", "name")
_CENTRE_COLUMNS = (COLUMNS[1], "data_center", "centre", "center", "hospital", "source")
_NAMED = 3
"""Rows, or scans, that a problem names."""


def read_centres(file: Path, scans: Mapping[str, Sequence[str]], where: str, problems: list[str]) -> dict[str, str]:
    """The centre of each scan that the table gives one, and no other one.

    Everything else is added to `problems`: rows of no scan, rows of several scans, scans without a row, rows without a
    centre, and rows that disagree.

    Args:
        file: a CSV file; its columns may also have the names `scan` and `centre`.
        scans: the names by which the table may know each scan, its own first, by the scan's name in the dataset.
        where: the scans, in words.

    Raises:
        DatasetError: the file can't be read as such a table.
    """
    names = _CentreNames(scans)
    given: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    foreign, unclear, empty = [], [], []
    for row in _read(file):
        name, centre = row.values["name"], _centre(row.values["centre"])
        found = names.find(name)
        place = f"line {row.line} {name!r}"
        if not found:
            foreign.append(place)
        elif len(found) > 1:
            unclear.append(place)
        elif not centre:
            empty.append(place)
        else:
            given[found[0]][centre].append(row.line)
    problems += [
        f"{file.name}: {_counted(rows)} {words}"
        for rows, words in (
            (foreign, f"of no scan among {where}"),
            (unclear, f"of several scans of one name among {where}, which are left without a centre"),
            (empty, "without a centre"),
        )
        if rows
    ]
    return _agreed(file, given, scans, where, problems)


def _agreed(
    file: Path,
    given: Mapping[str, Mapping[str, Sequence[int]]],
    scans: Iterable[str],
    where: str,
    problems: list[str],
) -> dict[str, str]:
    for scan, centres in sorted(given.items()):
        if len(centres) > 1:
            lines = in_words(map(str, sorted(line for rows in centres.values() for line in rows)))
            words = in_words(sorted(centres))
            problems.append(f"{file.name} lines {lines}: {scan} is of the centres {words}: left without a centre")
    if without := sorted(set(scans) - given.keys()):
        count = f"{len(without)} scan{'s have' if len(without) > 1 else ' has'}"
        problems.append(f"{file.name}: {count} no row with a centre among {where} (the first is {without[0]})")
    return {scan: next(iter(centres)) for scan, centres in given.items() if len(centres) == 1}


def _read(file: Path) -> list[Row]:
    """The rows, with the columns `name` and `centre`."""
    errors = []
    for columns in product(_NAME_COLUMNS, _CENTRE_COLUMNS):
        try:
            rows = read_rows(file, columns)
        except DatasetError as error:
            errors.append(error)
            continue
        named = [Row(row.line, dict(zip(("name", "centre"), row.values.values(), strict=True))) for row in rows]
        return [row for row in named if row.values["name"] or row.values["centre"]]
    raise errors[0]


def _centre(text: str) -> str:
    """A centre's name; one that is a number as spreadsheets write it, `2.0`, is `2`."""
    return re.sub(r"(?<=[0-9])[.,]0+$", "", text)


def _counted(rows: Sequence[str]) -> str:
    first = ", ".join(rows[:_NAMED]) + (", …" if len(rows) > _NAMED else "")
    return f"{len(rows)} row{'s' * (len(rows) > 1)} ({first})"


class _CentreNames:
    """Scans by the names that a table may have for them: as written, else without regard to underscores and case."""

    def __init__(self, scans: Mapping[str, Sequence[str]]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._loose: dict[str, list[str]] = defaultdict(list)
        for scan, names in scans.items():
            for name in dict.fromkeys(names):
                self._exact[name].append(scan)
            for key in dict.fromkeys(map(self._key, names)):
                self._loose[key].append(scan)

    def find(self, name: str) -> list[str]:
        """The scans that the name may mean."""
        last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
        return self._exact.get(last) or self._loose.get(self._key(last), [])

    @staticmethod
    def _key(name: str) -> str:
        return re.sub(r"[\s_-]+", "", name).casefold()
