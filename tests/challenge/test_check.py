"""The check of submission files finds what can be wrong with them, all of it at once, and nothing in what is right."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cov3d.challenge.check import check_submission
from cov3d.challenge.line_format import LineFormat
from cov3d.challenge.submission import write_submission
from cov3d.errors import DatasetError, SubmissionError
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES
from tests.conftest import Ended

SCANS = [f"subset1/ct_{number}" for number in range(1, 7)]
COVID, NON_COVID = ["ct_1", "ct_2", "ct_3"], ["ct_4", "ct_5", "ct_6"]
SEVERITY_NAMES = {"mild": ["ct_1", "ct_5"], "moderate": ["ct_2"], "severe": ["ct_3", "ct_6"], "critical": ["ct_4"]}


def text(names: list[str]) -> str:
    return "".join(f"{name}\n" for name in names)


@pytest.fixture
def presence(tmp_path: Path) -> Path:
    """Files without a fault."""
    (tmp_path / "covid.csv").write_text(text(COVID))
    (tmp_path / "non-covid.csv").write_text(text(NON_COVID))
    (tmp_path / "predictions.csv").write_text("scan,p_non_covid\n")
    return tmp_path


@pytest.fixture
def severity(tmp_path: Path) -> Path:
    folder = tmp_path / "severity"
    folder.mkdir()
    for grade, names in SEVERITY_NAMES.items():
        (folder / f"{grade}.csv").write_text(text(names))
    return folder


def problems(folder: Path, **how: object) -> list[str]:
    return check_submission(folder, SCANS, **how).problems  # type: ignore[arg-type]


def test_what_is_right_has_no_problem_and_is_counted(presence: Path, severity: Path) -> None:
    found = check_submission(presence, SCANS)
    assert (found.task, found.problems) == (Task.PRESENCE, [])
    assert found.counts == {"covid.csv": 3, "non-covid.csv": 3}
    found = check_submission(severity, SCANS)
    assert (found.task, found.problems) == (Task.SEVERITY, [])
    assert found.counts == {"mild.csv": 2, "moderate.csv": 1, "severe.csv": 2, "critical.csv": 1}
    (presence / "covid.csv").write_text("ct_1\nct_2\nct_3")  # the last line may have no end
    assert problems(presence) == []


@pytest.mark.parametrize("line_format", LineFormat)
@pytest.mark.parametrize("task", Task)
def test_what_is_written_in_a_format_passes_in_it_and_in_no_other(
    line_format: LineFormat, task: Task, tmp_path: Path
) -> None:
    rows = [(scan, "covid" if number < 4 else "non-covid") for number, scan in enumerate(SCANS)]
    table = pd.DataFrame(rows, columns=["scan", "presence"])
    table["severity"] = ["mild", "moderate", "severe", "critical", "mild", "mild"]
    write_submission(table, CATEGORIES, tmp_path, task, line_format)
    assert problems(tmp_path, line_format=line_format, task=task) == []
    assert problems(tmp_path, line_format=line_format) == []
    for other in set(LineFormat) - {line_format}:
        found = problems(tmp_path, line_format=other)
        assert found
        assert all(
            f"in the format {line_format}, not {other}" in problem or "format plain, not" in problem
            for problem in found
        )


@pytest.mark.parametrize(
    ("line_format", "written"),
    [("plain", "ct_2\nct_10\n"), ("header", "scan\nct_2\nct_10\n"), ("row", "ct_2,ct_10\n")],
)
def test_a_format_is_what_it_says(line_format: str, written: str, tmp_path: Path) -> None:
    rows = [("ct_10", "covid", "mild"), ("ct_2", "covid", "mild")]
    table = pd.DataFrame(rows, columns=["scan", "presence", "severity"])
    write_submission(table, CATEGORIES, tmp_path, Task.PRESENCE, LineFormat(line_format))
    assert (tmp_path / "covid.csv").read_bytes() == written.encode()
    assert (tmp_path / "non-covid.csv").read_text() == ("scan\n" if line_format == "header" else "")


@pytest.mark.parametrize(
    ("covid", "wanted"),
    [
        ("ct_1\nct_3\n", ["ct_2 is in none of the files (subset1/ct_2)"]),
        ("ct_1\nct_2\nct_3\nct_2\n", ["ct_2 is in 2 places: covid.csv line 2, covid.csv line 4"]),
        ("ct_1\nct_2\nct_3\nct_5\n", ["ct_5 is in 2 places: covid.csv line 4, non-covid.csv line 2"]),
        ("ct_1\nct_2\nct_3\nct_7\n", ["covid.csv line 4: 'ct_7' is not a test scan"]),
        (
            "ct_1\nct_2\nct3\n",
            [
                "covid.csv line 3: 'ct3' is not a test scan: did you mean ct_3?",
                "ct_3 is in none of the files (subset1/ct_3)",
            ],
        ),
        (
            "name\nct_1\nct_2\nct_3\n",
            ["covid.csv seems to be in the format header, not plain (line 1, 'name', is not a test scan)"],
        ),
        (
            "ct_1,ct_2,ct_3\n",
            ["covid.csv seems to be in the format row, not plain (line 1 has several names, separated by commas)"],
        ),
        ("ct_1\n\nct_2\nct_3\n\n", ["covid.csv: 2 lines (from line 2) blank"]),
        ("ct_1\r\nct_2\r\nct_3\r\n", ["covid.csv: lines end in CR LF, as on Windows, not in LF"]),
        ("ct_1\rct_2\rct_3\r", ["covid.csv: lines end in CR, as on old Macs, not in LF"]),
        (
            "task1/ct_1\nct_2\ntask1\\ct_3\n",
            ["covid.csv: 2 lines (from line 1) with paths, the first 'task1/ct_1': write names only"],
        ),
        (
            "ct_1,1\nct_2,1\nct_3,1\n",
            ["covid.csv: 3 lines (from line 1) of several columns, the first 'ct_1,1': write names only"],
        ),
        (
            '"ct_1"\nct_2 \nct_3\n',
            [
                "covid.csv: line 1 with quotes, the first '\"ct_1\"': write names only",
                "covid.csv: line 2 with spaces around the name, the first 'ct_2': write names only",
            ],
        ),
    ],
)
def test_each_fault_is_found_and_no_other_is_made_of_it(covid: str, wanted: list[str], presence: Path) -> None:
    (presence / "covid.csv").write_bytes(covid.encode())
    assert problems(presence) == wanted


@pytest.mark.parametrize(
    ("encoding", "called"),
    [("utf-8-sig", "UTF-8 with a byte order mark"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16 without a byte")],
)
def test_other_encodings_are_reported(encoding: str, called: str, presence: Path) -> None:
    (presence / "covid.csv").write_bytes(text(COVID).encode(encoding))
    (problem,) = problems(presence)
    assert problem.startswith(f"covid.csv is {called}")


def test_what_is_not_utf_8_is_reported(presence: Path) -> None:
    (presence / "covid.csv").write_bytes(b"ct_1\nct_2\nct_3\nct_\xe9\n")
    assert problems(presence) == [
        "covid.csv is not UTF-8, but perhaps Latin-1: write it as plain UTF-8",
        "covid.csv line 4: 'ct_é' is not a test scan",
    ]


def test_a_header_that_may_be_a_scan_and_names_that_are_empty_are_reported(presence: Path) -> None:
    (presence / "covid.csv").write_text("somebody\n" + text(COVID))
    (presence / "non-covid.csv").write_text("Scan name\n" + text(NON_COVID))
    reported = ["covid.csv: the header 'somebody' may be a scan: write name"]
    assert problems(presence, line_format=LineFormat.HEADER) == reported
    (presence / "covid.csv").write_text("ct_1,ct_2,,ct_3,\n")
    (presence / "non-covid.csv").write_text("ct_4,ct_5,ct_6\n")
    assert problems(presence, line_format=LineFormat.ROW) == ["covid.csv: 2 of its names are empty"]


@pytest.mark.parametrize("content", ["", "scan\n"])
def test_an_empty_file_is_a_problem_unless_it_is_meant(content: str, severity: Path) -> None:
    (severity / "critical.csv").write_text(content)
    (severity / "mild.csv").write_text(text(["ct_1", "ct_5", "ct_4"]))
    found = problems(severity)
    assert "critical.csv is empty: if no scan is predicted critical, give --allow-empty" in found
    assert [problem for problem in problems(severity, allow_empty=True) if "empty" in problem] == []


def test_a_missing_file_and_one_of_another_name_are_reported(presence: Path) -> None:
    (presence / "non-covid.csv").rename(presence / "NonCovid.csv")
    assert problems(presence)[:2] == [
        "NonCovid.csv is not a submission file: rename it to non-covid.csv",
        "non-covid.csv is missing",
    ]
    assert sum("is in none" in problem for problem in problems(presence)) == 3


def test_of_both_tasks_exactly_the_positive_scans_have_a_severity(presence: Path) -> None:
    for grade, names in {"mild": ["ct_1"], "moderate": ["ct_2"], "severe": [], "critical": ["ct_3"]}.items():
        (presence / f"{grade}.csv").write_text(text(names))
    assert problems(presence, allow_empty=True) == []
    (presence / "critical.csv").write_text(text(["ct_4"]))
    assert problems(presence, allow_empty=True) == [
        "critical.csv line 1: ct_4 has a severity, but is not in covid.csv",
        "ct_3 of covid.csv is in none of the files (subset1/ct_3)",
    ]


def test_all_problems_are_reported_at_once(severity: Path) -> None:
    (severity / "mild.csv").write_text("ct_1\nct_9\n")
    (severity / "critical.csv").write_text("")
    (severity / "severe.csv").write_bytes(b"ct_3\r\nct_3\r\n")
    assert problems(severity) == [
        "severe.csv: lines end in CR LF, as on Windows, not in LF",
        "critical.csv is empty: if no scan is predicted critical, give --allow-empty",
        "mild.csv line 2: 'ct_9' is not a test scan",
        "ct_3 is in 2 places: severe.csv line 1, severe.csv line 2",
        *(f"ct_{number} is in none of the files (subset1/ct_{number})" for number in (4, 5, 6)),
    ]


def test_what_can_not_be_checked_is_refused(presence: Path) -> None:
    with pytest.raises(SubmissionError, match="there is no folder"):
        check_submission(presence / "nowhere", SCANS)
    (presence / "empty").mkdir()
    with pytest.raises(SubmissionError, match="has none of the submission files"):
        check_submission(presence / "empty", SCANS)
    (presence / "above" / "1").mkdir(parents=True)
    (presence / "above" / "1" / "covid.csv").touch()
    with pytest.raises(SubmissionError, match=r"give the folders below it, such as .*above/1"):
        check_submission(presence / "above", SCANS)
    with pytest.raises(DatasetError, match="2 scans have the name ct_1"):
        check_submission(presence, [*SCANS, "subset2/ct_1"])


def test_the_command_line_lists_the_problems_and_exits_with_2(
    cov3d: Callable[..., Ended], presence: Path, tmp_path: Path
) -> None:
    root = tmp_path / "test"
    for scan in SCANS:
        (root / scan).mkdir(parents=True)
        for slice_name in ("1.jpg", "2.jpg"):
            (root / scan / slice_name).touch()
    words = ["check-submission", presence, "--scans", root]
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert f"{presence}: 6 test scans; covid.csv 3, non-covid.csv 3" in ended.out
    (presence / "covid.csv").write_text("ct_1,ct_2,ct_9\n")
    ended = cov3d(*words)
    assert ended.code == 2
    for wanted in (
        f"{presence}: covid.csv seems to be in the format row, not plain",
        f"{presence}: covid.csv line 1: 'ct_9' is not a test scan",
        f"{presence}: ct_3 is in none of the files",
        f"error: 3 problems in {presence}",
    ):
        assert wanted in ended.err
    (presence / "covid.csv").write_text("")
    (presence / "non-covid.csv").write_text(",".join([*COVID, *NON_COVID]))
    assert cov3d(*words, "--line-format", "row").code == 2
    assert cov3d(*words, "--line-format", "row", "--allow-empty").code == 0
    ended = cov3d(*words, "--line-format", "row", "--allow-empty", "--task", "both")
    assert (ended.code, "mild.csv is missing" in ended.err) == (2, True)
