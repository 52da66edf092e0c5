"""A CSV file that others wrote → its rows, each with the line it stands on, for the problems found in it."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cov3d.errors import DatasetError


class Row(NamedTuple):
    """One row: its line in the file, and its values by column."""

    line: int
    values: dict[str, str]


def read_rows(file: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV file, their values stripped; empty rows are left out, a missing value is an empty string.

    The separator is the one that the header has: comma, semicolon or tab. Columns are found by name, whatever their
    order and case; others are passed over.

    Args:
        file: the CSV file.
        columns: must be there.
        optional: may be there; the values of one that is not are empty strings.

    Raises:
        DatasetError: the file is missing, can't be read as CSV, or lacks one of `columns`.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(",;\t", key=header.count))
            lines = [(reader.line_num, [value.strip() for value in values]) for values in reader]
    except FileNotFoundError:
        raise DatasetError(f"there is no file {file}: check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} can't be read as a CSV file: {error}") from error
    names = [name.lower() for name in lines[0][1]] if lines else []
    if missing := [column for column in columns if column.lower() not in names]:
        there = ", ".join(lines[0][1]) if lines else "none"
        raise DatasetError(
            f"{file} must have the columns {', '.join(columns)}; {', '.join(missing)} missing of {there}"
        )
    wanted = {column: column.lower() for column in (*columns, *optional)}
    places = {column: names.index(name) if name in names else len(names) for column, name in wanted.items()}
    return [
        Row(line, {column: values[place] if place < len(values) else "" for column, place in places.items()})
        for line, values in lines[1:]
        if any(values)
    ]
