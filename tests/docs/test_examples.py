"""The worked examples of the how-to pages: their changes are made to a copy of the code, and their checks are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "howto").glob("add-a-*.md"))
_BLOCK = re.compile(r'^```(python|diff|shell) title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, title and text of a page's titled blocks."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def apply(change: str, file: Path) -> None:
    """Make a change: its lines of blank and minus, found once in the file, become its lines of blank and plus."""
    lines = change.splitlines()
    before, after = ("\n".join(line[1:] for line in lines if line[:1] in (" ", sign)) for sign in "-+")
    text = file.read_text(encoding="utf-8")
    assert text.count(f"\n{before}\n") == 1, f"not once in {file}:\n{before}"
    file.write_text(text.replace(f"\n{before}\n", f"\n{after}\n"), encoding="utf-8")


def test_there_is_an_example_for_each_kind_of_extension() -> None:
    assert [page.stem for page in PAGES] == [
        f"add-a-{kind}" for kind in ("backbone", "dataset-layout", "reader", "score")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_example_is_shorter_than_60_lines(page: Path) -> None:
    code = [text for language, title, text in blocks(page) if language != "shell" and not title.startswith("tests/")]
    assert 0 < sum(len(text.splitlines()) for text in code) < 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_example_passes_its_own_check(page: Path, tmp_path: Path) -> None:
    for folder in ("cov3d", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    checks = []
    for language, title, text in blocks(page):
        if language == "python":
            assert not (tmp_path / title).exists(), f"{title} is there already"
            (tmp_path / title).write_text(text, encoding="utf-8")
        elif language == "diff":
            apply(text, tmp_path / title)
        else:
            checks += [shlex.split(line) for line in text.splitlines()]
    assert checks
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for python, *words in checks:
        assert python == "python"
        command = [sys.executable, *words, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-3000:]
        assert re.search(r"[1-9]\d* passed", ended.stdout), ended.stdout
