"""A file of labels, Excel or CSV, with the columns Name and Category → its rows with their positions.

Of an Excel file the one visible sheet that has both columns is read, wherever the header stands in it. A hidden sheet
is not what a person sees who corrects a label, so it is never read. Rows that a filter hides are rows of the table all
the same: they are read, and that is reported. Where Excel itself has no value to show in a cell (a formula that was
never computed, the lower cells of a merged block), the row has none, and that is reported, too.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

from cov3d.datasets.found import in_words
from cov3d.datasets.rows import find_columns, read_rows
from cov3d.errors import DatasetError

COLUMNS = ("Name", "Category")
_HEADER_ROWS = 100
"""Number of rows of a sheet that are searched for the header."""
_NAMED = 5
"""Rows that a problem names."""


class LabelRow(NamedTuple):
    """One row: its number in the file, the scan's name as text, and the category as it is; None for an empty cell."""

    number: int
    name: str
    category: object


class Labels(NamedTuple):
    """The rows of a file of labels, and the file's name, with the sheet's, for the problems found in them."""

    place: str
    rows: list[LabelRow]

    def where(self, *numbers: int) -> str:
        """The place of rows, in words."""
        return f"{self.place} row{'s' * (len(numbers) > 1)} {in_words(map(str, numbers))}"


def read_labels(file: Path, problems: list[str]) -> Labels:
    """The rows of a file of labels that have a name or a category; doubts about its cells are added to `problems`.

    Raises:
        DatasetError: the file can't be read, or lacks a column or has it twice; or no visible sheet, or more than one,
            has the columns.
    """
    if file.suffix.lower() != ".csv":
        return _read_excel(file, problems)
    rows = [(row.line, row.values["Name"], row.values["Category"]) for row in read_rows(file, COLUMNS)]
    return Labels(file.name, [LabelRow(line, name, value or None) for line, name, value in rows if name or value])


def _read_excel(file: Path, problems: list[str]) -> Labels:
    workbook = _workbook(file, values=True)
    sheet, header, places = _find_sheet(file, workbook)
    labels = Labels(f"{file.name} sheet {sheet.title!r}", [])
    merged, empty, hidden = [], [], []
    for number in range(header + 1, sheet.max_row + 1):
        cells = {column: sheet.cell(number, place + 1) for column, place in places.items()}
        values = {column: cell.value for column, cell in cells.items()}
        if any(type(cell).__name__ == "MergedCell" for cell in cells.values()):
            merged.append(number)
        if None in values.values():
            empty.append(number)
        if set(values.values()) == {None}:
            continue
        if sheet.row_dimensions[number].hidden:
            hidden.append(number)
        labels.rows.append(LabelRow(number, _as_text(values["Name"]), values["Category"]))
    problems += _doubts(labels, {"hidden": hidden, "merged": merged, "formulas": _formulas(file, sheet, places, empty)})
    problems += [
        f"{labels.place}: the column {column} is hidden, and is read"
        for column, place in places.items()
        if _is_hidden(sheet, place + 1)
    ]
    return labels


def _workbook(file: Path, *, values: bool) -> Any:
    """The workbook, with the values of formulas or with the formulas themselves."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    # What openpyxl, zipfile and the XML parser raise on a file that is no Excel file.
    unreadable = (
        *(OSError, ValueError, TypeError, AttributeError, LookupError, SyntaxError, ImportError),
        *(BadZipFile, InvalidFileException, EOFError, NotImplementedError),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which change no value
            return load_workbook(file, data_only=values)
    except unreadable as error:
        raise DatasetError(f"{file} can't be read as an Excel file: {error}") from error


def _find_sheet(file: Path, workbook: Any) -> tuple[Any, int, dict[str, int]]:
    """The one visible sheet with both columns, the row of its header and the places of the columns."""
    visible = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    found = [(sheet, *header) for sheet in visible if (header := _find_header(file, sheet))]
    if len(found) == 1:
        return found[0]
    columns = in_words(COLUMNS)
    if found:
        names = in_words(repr(sheet.title) for sheet, *_ in found)
        raise DatasetError(
            f"{file}: each of the sheets {names} has the columns {columns}: keep one of them, or hide the others"
        )
    for sheet in workbook.worksheets:
        if sheet not in visible and _find_header(file, sheet):
            raise DatasetError(
                f"{file}: only the hidden sheet {sheet.title!r} has the columns {columns}: show it in Excel, and save"
            )
    there = in_words(f"{sheet.title!r} ({', '.join(_first_row(sheet)) or 'empty'})" for sheet in visible)
    raise DatasetError(f"{file} must have the columns {columns} in a sheet; its sheets are {there}")


def _find_header(file: Path, sheet: Any) -> tuple[int, dict[str, int]] | None:
    where = f"{file} sheet {sheet.title!r}"
    for number, values in enumerate(sheet.iter_rows(max_row=_HEADER_ROWS, values_only=True), start=1):
        if places := find_columns(["" if value is None else value for value in values], COLUMNS, where):
            return number, places
    return None


def _first_row(sheet: Any) -> Iterator[str]:
    for values in sheet.iter_rows(max_row=_HEADER_ROWS, values_only=True):
        if any(value is not None for value in values):
            yield from (str(value) for value in values if value is not None)
            return


def _as_text(value: object) -> str:
    """A name as text; Excel keeps a name that is a number as a number."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _formulas(file: Path, sheet: Any, places: dict[str, int], empty: list[int]) -> list[int]:
    """Which of the rows with an empty cell have a formula there."""
    if not empty:
        return []
    same = _workbook(file, values=False)[sheet.title]
    return [
        number for number in empty if any(same.cell(number, place + 1).data_type == "f" for place in places.values())
    ]


def _is_hidden(sheet: Any, column: int) -> bool:
    return any(one.hidden and (one.min or 0) <= column <= (one.max or 0) for one in sheet.column_dimensions.values())


def _doubts(labels: Labels, found: dict[str, list[int]]) -> Iterator[str]:
    sentences = {
        "hidden": "hidden, by a filter or by hand, and read all the same",
        "merged": "part of merged cells, which have one value, in the upper left cell: unmerge them, and fill each",
        "formulas": "without a value: a formula there was never computed; open the file in Excel, and save it",
    }
    for kind, numbers in found.items():
        if numbers:
            yield f"{labels.place}: {_counted(numbers)} {'is' if len(numbers) == 1 else 'are'} {sentences[kind]}"


def _counted(numbers: Iterable[int]) -> str:
    """`row 3`, `rows 3 and 4`; of many, the first and how many there are."""
    numbers = list(numbers)
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    if len(numbers) <= _NAMED:
        return f"rows {in_words(map(str, numbers))}"
    return f"{len(numbers)} rows (the first is row {numbers[0]})"
