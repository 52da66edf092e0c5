"""docs/tutorial.md: its commands, as they stand there, with smaller numbers."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Ended
from tests.training.conftest import quick_network  # noqa: F401  a fixture

DOCS = Path(__file__).parents[2] / "docs"
SMALLER = {"--scans 60": "--scans 14", "--resolution 256": "--resolution 96", "--epochs 3": "--epochs 1"}
"""What the test takes instead; a key that the tutorial no longer has is an error."""


def commands(page: str) -> list[list[str]]:
    """The commands of a page's `console` blocks: the lines after `$`, in words."""
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run_all(page: str, cov3d: Callable[..., Ended], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the commands one after another, as a shell would, from `folder`; the folder where they end."""
    monkeypatch.chdir(folder)
    for program, *words in commands(page):
        if program == "cd":
            folder = folder / words[0]
            monkeypatch.chdir(folder)
            continue
        assert program == "cov3d"
        expanded = [str(path) for word in words for path in (sorted(Path().glob(word)) if "*" in word else [word])]
        ended = cov3d(*expanded)
        assert ended.code == 0, (words, ended.err)
    return folder


def with_smaller_numbers(page: str) -> str:
    """The page with numbers that a test can wait for."""
    for written, smaller in SMALLER.items():
        assert page.count(written) == 1, written
        page = page.replace(written, smaller)
    return page


@pytest.mark.usefixtures("quick_network")
def test_the_commands_of_the_tutorial_run(
    cov3d: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    data = run_all(with_smaller_numbers(page), cov3d, tmp_path, monkeypatch)
    # What the text says of each step.
    scans = pd.read_csv(data / "scans.csv")
    assert list(scans.columns) == ["scan", "partition", "label", "fold"]
    assert len(scans) == 14
    assert set(scans.loc[scans["partition"] == "validation", "fold"]) == {0}
    assert (data / "preprocessed/tiny/report/crops.html").is_file()
    (run,) = (data / "runs").glob("resnet_tiny_*fold-0_seed-0")
    assert {file.name for file in run.glob("*.safetensors")} == {"presence.safetensors", "severity.safetensors"}
    assert "selected on this fold" in (data / "validation/scores.json").read_text()
    predicted = pd.read_csv(data / "submission/presence/predictions.csv")
    named = [(data / "submission/presence" / f"{name}.csv").read_text().split() for name in ("covid", "non-covid")]
    assert sorted(name for names in named for name in names) == sorted(Path(scan).name for scan in predicted["scan"])
    assert (data / "report/report.html").is_file()
    assert unnamed(data) == []


def unnamed(data: Path) -> list[str]:
    """Files below a folder, and columns of its tables, that docs/reference/files.md does not name."""
    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    found = []
    for file in sorted(data.rglob("*")):
        name = re.sub(r"(test_)?ct_scan_?\d+", "SCAN", file.name)
        if file.is_dir() or file.suffix in (".jpg", ".xlsx") or name == ".lock":
            continue
        if name not in page and file.stem not in page:
            found.append(str(file))
        header = file.read_text(encoding="utf-8").partition("\n")[0] if file.suffix == ".csv" else ""
        if "," in header and not re.match(r"table-\d|confusion-", name):
            columns = [column for column in header.split(",") if not re.search(rf"\b{column}\b", page)]
            found += [f"{file}: {column}" for column in columns]
    return found


@pytest.mark.slow
def test_the_commands_of_the_tutorial_run_with_the_network_itself(
    cov3d: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes: the numbers and the network that a reader has."""
    data = run_all((DOCS / "tutorial.md").read_text(encoding="utf-8"), cov3d, tmp_path, monkeypatch)
    assert (data / "report/report.html").is_file()
