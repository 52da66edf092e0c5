"""Files of severities as people leave them: sheets, headers, words, encodings, and what Excel hides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from cov3d.datasets import scan_table
from cov3d.errors import DatasetError
from tests.datasets.test_folds import JPEG, labels_of

SCANS = ("ct_scan_0", "ct_scan_1", "ct_scan_2", "nan")
HEADER = ("Name", "Category")


def dataset(root: Path, scans: tuple[str, ...] = SCANS) -> Path:
    for scan in (*(f"covid/{name}" for name in scans), "non-covid/n"):
        (root / "train" / scan).mkdir(parents=True)
        for number in (1, 2):
            (root / "train" / scan / f"{number}.jpg").write_bytes(JPEG)
    return root


def labels(root: Path) -> tuple[dict[str, str], str]:
    """The label of each COVID scan by its name, and what was reported, small classes aside."""
    built = scan_table.build(root, seed=0)
    problems = "\n".join(problem for problem in built.problems if "folds drawn" not in problem)
    found = labels_of(built).items()
    return {scan.removeprefix("train/covid/"): label for scan, label in found if "/covid/" in scan}, problems


def excel(root: Path, fill: Callable[[Workbook], Any]) -> tuple[dict[str, str], str]:
    """The labels that a workbook gives; it has one empty sheet, called Sheet, before it is filled."""
    book = Workbook()
    fill(book)
    book.save(dataset(root) / "ICASSP_severity_train_partition.xlsx")
    return labels(root)


def rows(sheet: Any, *given: tuple[object, ...], header: tuple[object, ...] = HEADER) -> None:
    for row in (header, *given):
        sheet.append(row)


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_the_visible_sheet_is_read_and_not_a_hidden_one_before_it(tmp_path: Path, state: str) -> None:
    def fill(book: Workbook) -> None:
        rows(book.active, ("ct_scan_0", 4))
        book.active.sheet_state = state
        rows(book.create_sheet("Grades"), ("ct_scan_0", 1))

    assert excel(tmp_path, fill) == ({**dict.fromkeys(SCANS, "covid"), "ct_scan_0": "mild"}, "")


def test_notes_on_the_first_sheet_and_above_the_header_are_passed_over(tmp_path: Path) -> None:
    def fill(book: Workbook) -> None:
        book.active.append(("Read by two radiologists",))
        sheet = book.create_sheet("Grades")
        sheet.append(("Severity, corrected in May",))
        sheet.append(())
        rows(sheet, ("mild", "x", "ct_scan_1"), (7, "x", "ct_scan_2"), header=(" CATEGORY ", "Reader", "name"))

    found, problems = excel(tmp_path, fill)
    assert found["ct_scan_1"] == "mild"
    assert problems == (
        "ICASSP_severity_train_partition.xlsx sheet 'Grades' row 5: 'ct_scan_2' has category 7, "
        "not 1 to 4 or mild, moderate, severe, critical"
    )


def test_two_visible_sheets_with_the_columns_and_only_a_hidden_one_are_refused(tmp_path: Path) -> None:
    def two(book: Workbook) -> None:
        rows(book.active, ("ct_scan_0", 4))
        rows(book.create_sheet("Old"), ("ct_scan_0", 1))

    def one_hidden(book: Workbook) -> None:
        rows(book.create_sheet("Old"), ("ct_scan_0", 1))
        book["Old"].sheet_state = "hidden"

    with pytest.raises(DatasetError, match=r"partition\.xlsx: each of the sheets 'Sheet' and 'Old' has the columns"):
        excel(tmp_path / "a", two)
    with pytest.raises(DatasetError, match="only the hidden sheet 'Old' has the columns Name and Category: show it"):
        excel(tmp_path / "b", one_hidden)
    with pytest.raises(DatasetError, match=r"must have the columns Name and Category .* 'Sheet' \(Name, Grade\)"):
        excel(tmp_path / "c", lambda book: rows(book.active, header=("Name", "Grade")))


@pytest.mark.parametrize(
    "header", [("Name", "Category", "Category "), ("name", "Category", "NAME"), (*HEADER, *HEADER)]
)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match=r"sheet 'Sheet' has two columns (Name|Category)"):
        excel(tmp_path / "a", lambda book: rows(book.active, ("ct_scan_0", 1, 2, 3), header=header))
    root = dataset(tmp_path / "b")
    (root / "train_partition_covid_categories.csv").write_text(";".join(header) + "\nct_scan_0;1;2;3\n")
    with pytest.raises(DatasetError, match=r"categories\.csv has two columns (Name|Category)"):
        labels(root)


@pytest.mark.parametrize(
    ("category", "label"),
    [
        *(("Mild", "mild"), (" MODERATE ", "moderate"), ("severe", "severe"), (1, "mild"), (1.0, "mild")),
        *(("4", "critical"), ("3.0", "severe"), ("2,0", "moderate")),
        *((0, None), (5, None), (1.5, None), ("covid", None), (True, None)),
    ],
)
def test_a_category_is_a_word_or_a_number_from_1_to_4(tmp_path: Path, category: object, label: str | None) -> None:
    found, problems = excel(tmp_path, lambda book: rows(book.active, ("ct_scan_0", category), ("ct_scan_1", 2)))
    assert found["ct_scan_0"] == (label or "covid")
    assert found["ct_scan_1"] == "moderate"
    assert ("row 2: 'ct_scan_0' has category" in problems) == (label is None)


@pytest.mark.parametrize("name", ["nan", "NA", "None", "null", "#N_A", "7", "1e3", "TRUE"])
def test_a_name_is_text_as_it_stands(tmp_path: Path, name: str) -> None:
    root = dataset(tmp_path, scans=(name, "other"))
    book = Workbook()
    rows(book.active, (name, 3))
    book.save(root / "ICASSP_severity_train_partition.xlsx")
    assert labels(root) == ({name: "severe", "other": "covid"}, "")
    (root / "ICASSP_severity_train_partition.xlsx").unlink()
    (root / "train_partition_covid_categories.csv").write_text(f"Name;Category\n{name};2\n")
    assert labels(root) == ({name: "moderate", "other": "covid"}, "")


def test_a_name_that_excel_keeps_as_a_number_is_the_folder_of_that_number(tmp_path: Path) -> None:
    root = dataset(tmp_path, scans=("7", "12"))
    book = Workbook()
    rows(book.active, (7, 1), (12.0, 2))
    book.save(root / "ICASSP_severity_train_partition.xlsx")
    assert labels(root) == ({"7": "mild", "12": "moderate"}, "")


def test_hidden_rows_and_columns_are_read_and_reported(tmp_path: Path) -> None:
    def fill(book: Workbook) -> None:
        rows(book.active, ("ct_scan_0", 1), ("ct_scan_1", 2), ("ct_scan_2", 3))
        book.active.row_dimensions[3].hidden = True
        book.active.column_dimensions["B"].hidden = True

    found, problems = excel(tmp_path, fill)
    assert [found[scan] for scan in SCANS] == ["mild", "moderate", "severe", "covid"]
    place = "ICASSP_severity_train_partition.xlsx sheet 'Sheet'"
    assert problems.splitlines() == [
        f"{place}: row 3 is hidden, by a filter or by hand, and read all the same",
        f"{place}: the column Category is hidden, and is read",
    ]


def test_merged_cells_and_formulas_that_were_never_computed_are_reported_by_row(tmp_path: Path) -> None:
    def fill(book: Workbook) -> None:
        rows(book.active, ("ct_scan_0", 1), ("ct_scan_1", None), ("ct_scan_2", "=1+1"), (None, 3))
        book.active.merge_cells("B2:B3")

    found, problems = excel(tmp_path, fill)
    assert [found[scan] for scan in SCANS] == ["mild", "covid", "covid", "covid"]
    assert "row 3 is part of merged cells, which have one value, in the upper left cell" in problems
    assert "row 4 is without a value: a formula there was never computed" in problems
    assert "row 3: 'ct_scan_1' has no category" in problems
    assert "row 5: category 3 has no name beside it" in problems


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    found, problems = excel(tmp_path, lambda book: rows(book.active, ("nan", 1), ("ct_scan_0", 2), ("nan", "Severe")))
    assert found["nan"] == "covid"
    assert "sheet 'Sheet' rows 2 and 4: rows for train/covid/nan disagree (mild, severe)" in problems


@pytest.mark.parametrize("kind", ["excel", "csv"])
def test_a_header_without_rows_and_rows_of_no_scan_are_reported(tmp_path: Path, kind: str) -> None:
    root = dataset(tmp_path)
    for given, sentence in (
        ((), "has a header and no rows: the COVID scans of train have no severity"),
        ((("case_1", 2), ("case_2", 3)), "none of the 2 rows of "),
    ):
        if kind == "excel":
            book = Workbook()
            rows(book.active, *given)
            book.save(root / "ICASSP_severity_train_partition.xlsx")
        else:
            lines = "".join(f"{name};{category}\n" for name, category in given)
            (root / "train_partition_covid_categories.csv").write_text("Name;Category\n" + lines)
        found, problems = labels(root)
        assert set(found.values()) == {"covid"}
        assert sentence in problems
        assert len(problems.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        "Name;Category\nJürgen;Mild\n".encode("latin-1"),
        "\ufeffName;Category\r\nJürgen;1\r\n".encode(),
        '"Name";"Category";"Note, if any"\n"Jürgen";"1";"a; b"\n'.encode(),
        '"Category","Name"\n"1","Jürgen"\n'.encode(),
        "Name\tCategory\nJürgen\t1,0\n".encode("utf-16"),
        "sep=;\nName;Category\nJürgen;1.0\n".encode("cp1252"),
        "Grades, May 2022\n\nname;CATEGORY\n Jürgen ;1\n".encode(),
    ],
)
def test_a_csv_file_is_read_as_spreadsheets_write_it(tmp_path: Path, content: bytes) -> None:
    root = dataset(tmp_path, scans=("Jürgen", "b"))
    (root / "train_partition_covid_categories.csv").write_bytes(content)
    assert labels(root) == ({"Jürgen": "mild", "b": "covid"}, "")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xfe\0", b"PK\x03\x04\x14\0\x06\0"])
def test_a_csv_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    root = dataset(tmp_path)
    (root / "train_partition_covid_categories.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=r"categories\.csv can't be read as a CSV file"):
        labels(root)
