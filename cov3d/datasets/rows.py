"""A CSV file that others wrote → its rows, with line numbers for error messages."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cov3d.errors import DatasetError

_SEPARATORS = ",;\t"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One row: its line in the file, and its values by column."""

    line: int
    values: dict[str, str]


def read_rows(file: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV file, their values stripped; empty rows are left out, a missing value is an empty string.

    The separator is comma, semicolon or tab: the one by which a line has all the columns. That line is the header;
    lines before it, such as a title, are ignored. Columns are found by name, in any order and case; others
    are ignored. The text is UTF-8, with or without a byte order mark, UTF-16 with one, or Windows-1252 (Latin-1).

    Args:
        file: the CSV file.
        columns: must be there.
        optional: may be there; the values of one that is not are empty strings.

    Raises:
        DatasetError: the file is missing, can't be read as CSV, lacks one of `columns` or has it twice.
    """
    text = _text(file)
    try:
        parsed = {separator: _lines(text, separator) for separator in _SEPARATORS}
    except csv.Error as error:
        raise DatasetError(f"{file} can't be read as a CSV file: {error}") from error
    for lines in parsed.values():
        for number, (_, header) in enumerate(lines):
            if places := find_columns(header, columns, str(file)):
                more = [find_columns(header, [column], str(file)) or {column: len(header)} for column in optional]
                return _rows(lines[number + 1 :], {**places, **{key: at for one in more for key, at in one.items()}})
    header = max((lines[0][1] for lines in parsed.values() if lines), key=len, default=[])
    names = [name.casefold() for name in header]
    missing = [column for column in columns if column.casefold() not in names]
    there = ", ".join(header) or "none"
    raise DatasetError(f"{file} must have the columns {', '.join(columns)}; {', '.join(missing)} missing of {there}")


def find_columns(header: Sequence[object], columns: Sequence[str], where: str) -> dict[str, int] | None:
    """The place of each of `columns` in a row, whatever their case; None where the row lacks one.

    Args:
        where: the file, and the sheet, for the error.

    Raises:
        DatasetError: the row has all of them, and one of them twice.
    """
    names = [str(name).strip().casefold() for name in header]
    if any(column.casefold() not in names for column in columns):
        return None
    for column in columns:
        if names.count(column.casefold()) > 1:
            raise DatasetError(f"{where} has two columns {column}: remove or rename one of them")
    return {column: names.index(column.casefold()) for column in columns}


def _text(file: Path) -> str:
    """The text of a file in the encodings that spreadsheets write."""
    try:
        content = file.read_bytes()
        if content.startswith(_UTF_16):
            return content.decode("utf-16")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
    except FileNotFoundError:
        raise DatasetError(f"there is no file {file}: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} can't be read as a CSV file: {error}") from error
    if "\0" in text:
        raise DatasetError(f"{file} can't be read as a CSV file: it is not text")
    return text


def _lines(text: str, separator: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [(reader.line_num, [value.strip() for value in values]) for values in reader]


def _rows(lines: list[tuple[int, list[str]]], places: dict[str, int]) -> list[Row]:
    return [
        Row(line, {column: values[place] if place < len(values) else "" for column, place in places.items()})
        for line, values in lines
        if any(values)
    ]
