"""The name of a file that is written, and the quoting of a command line, stand at one place of the package."""

import ast
import shlex
from collections import Counter
from pathlib import Path

import pytest

import cov3d
from cov3d.challenge.runs import Missing, Runs
from cov3d.command_words import command

PACKAGE = Path(cov3d.__file__).parent
NAMES = [
    *("predictions.csv", "manifest.csv", "left-out.csv", "scores.json", "scores.csv", "centres.csv"),
    *("comparison.json", "comparison.csv", "confusion.png", "reliability.png", "origin.json", "config.json"),
    *("set.json", "selection.json", "submissions.csv", "history.csv", "summary.json", "folds.csv", "scans.csv"),
]


def _literals(file: Path) -> list[str]:
    """The strings of a module that are not part of a sentence, which is what an f-string here is."""
    tree = ast.parse(file.read_text())
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.fixture(scope="module")
def literals() -> Counter[str]:
    return Counter(
        word for file in PACKAGE.rglob("*.py") if file.name != "demonstration.py" for word in _literals(file)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_files_name_has_one_owner(literals: Counter[str], name: str) -> None:
    assert literals[name] == 1


def test_a_command_is_quoted_for_a_shell() -> None:
    line = command(
        "submit", "a b", set="it's", data=None, overwrite=True, pretrained=False, folds=(1, 2), from_file="x"
    )
    words = ["cov3d", "submit", "a b", "--set", "it's", "--overwrite", "--no-pretrained", "--folds", "1", "2"]
    assert shlex.split(line) == [*words, "--from-file", "x"]


def test_a_zero_is_a_value() -> None:
    assert command("train", fold=0) == "cov3d train --fold 0"


def test_the_command_for_a_missing_run_can_be_pasted(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    missing = Runs(tmp_path / "other runs", data).find(8, 1, "presence.safetensors")
    assert isinstance(missing, Missing)
    words = shlex.split(missing.remedy)
    assert words[:8] == ["cov3d", "train", "--data", str(data), "--experiment", "8", "--fold", "1"]
    assert words[8] == "--output-dir"
    assert Path(words[9]).parent == tmp_path / "other runs"
