"""stdout and stderr of few signs, closed, full, or with nobody at the other end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cov3d.app.terminal import readable
from tests.app.commands import WORDS
from tests.conftest import sphere_chest, write_slices

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}


def run(
    *words: object, environment: dict[str, str] | None = None, shell: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """A command, with redirections as a shell writes them."""
    command = [*WORDS, *map(str, words)]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, **(environment or {})}, timeout=60
    )


@pytest.mark.parametrize("environment", [LATIN, {"PYTHONIOENCODING": "ascii"}, ASCII], ids=str)
def test_help_and_tables_are_printed_with_the_signs_that_there_are(environment: dict[str, str]) -> None:
    help_text, table = run("train", "--help", environment=environment), run("experiments", environment=environment)
    assert (help_text.returncode, help_text.stderr) == (table.returncode, table.stderr) == (0, b"")
    assert b"gamma of the focal loss" in help_text.stdout
    assert b"lambda, weight of the earth mover's distance" in help_text.stdout
    assert b"| --gamma" in help_text.stdout
    assert b"lambda" in table.stdout
    assert b"sigma_b" in table.stdout


@pytest.mark.parametrize(
    ("sign", "ascii"),
    [("σ", "sigma"), ("Σ", "Sigma"), ("λ", "lambda"), ("−", "-"), ("…", "..."), ("±", "+/-"), ("╭", "+"), ("│", "|"),
     ("━", "-"), ("³", "3"), ("₀", "0"), ("é", "\\xe9"), ("肺", "\\u80ba"), ("\udcff", "\\udcff")],
)  # fmt: skip
def test_a_sign_is_replaced_by_what_is_read(sign: str, ascii: str) -> None:
    assert readable(sign) == ascii


@pytest.mark.parametrize("environment", [LATIN, {"PYTHONIOENCODING": "ascii"}, {}], ids=str)
def test_names_of_scans_in_any_letters_are_printed(environment: dict[str, str], tmp_path: Path) -> None:
    write_slices(tmp_path / "Lübeck 肺", sphere_chest(depth=4, side=32))
    (tmp_path / "Lübeck 肺" / "1.jpg").write_bytes(b"none")
    ended = run("preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1, "--no-report", environment=environment)
    assert ended.returncode == 0, ended.stderr
    names = {"latin-1": b"L\xfcbeck \\u80ba", "ascii": b"L\\xfcbeck \\u80ba"}
    assert names.get(environment.get("PYTHONIOENCODING", ""), "Lübeck 肺".encode()) in ended.stderr


def test_a_name_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"scan\xff")
    write_slices(folder, sphere_chest(depth=4, side=32))
    ended = run("folds", "--data", tmp_path)
    assert ended.returncode in (0, 2)
    assert b"Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert b"\\udcff" in ended.stderr


@pytest.mark.parametrize("words", [["experiments"], ["train", "--help"]], ids=str)
def test_a_pipe_that_nobody_reads_is_no_error_to_tell(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*WORDS, *words], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_full_disk_under_stdout_is_one_sentence_and_the_work_is_done(tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", sphere_chest(depth=4, side=32))
    ended = run("folds", "--data", tmp_path, shell="> /dev/full")
    assert ended.returncode == 2
    (sentence,) = [line for line in ended.stderr.decode().splitlines() if not line.startswith("warning")]
    assert sentence.startswith("error: standard output can't be written: No space left on device")
    assert (tmp_path / "scans.csv").read_text().splitlines()[1].startswith("scan,")


@pytest.mark.parametrize("shell", [">&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_closed_output_is_no_error_and_no_file_is_taken_for_it(shell: str, tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", sphere_chest(depth=4, side=32))
    ended = run("folds", "--data", tmp_path, shell=shell)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    assert (tmp_path / "scans.csv").read_text().splitlines() == ["scan,partition,label,fold", "scan,test,,"]


def test_output_that_is_not_buffered_stays_so() -> None:
    code = (
        "import os, sys\n"
        "from cov3d.app.terminal import forgiving\n"
        "with forgiving(ends_process=True):\n    print('at once')\n    os._exit(0)"
    )
    ended = subprocess.run([sys.executable, "-u", "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "at once\n"
