"""Commands in groups, and completion of command lines by the shell."""

import re
from pathlib import Path

import pytest

from cov3d.app.app import COMMANDS, GROUPS
from tests.app.conftest import Command


def test_the_help_shows_every_command_in_its_group(cov3d: Command) -> None:
    text = cov3d("--help").out
    shown: dict[str, list[str]] = {}
    for title, name in re.findall(r"^╭─ ([\w ]+?) ─|^│ ([a-z][\w-]*) ", text, re.MULTILINE):
        if title:
            shown[title] = []
        elif name:
            shown[list(shown)[-1]].append(name.replace("-", "_"))
    assert {title: names for title, names in shown.items() if title in GROUPS} == {
        title: list(names) for title, names in GROUPS.items()
    }
    assert list(GROUPS) == ["Data", "Training", "Evaluation", "Prediction", "Try it"]
    assert len(set(COMMANDS)) == len(COMMANDS) == 18


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("cov3d pre", ["preprocess"]),
        ("cov3d check", ["check-submission"]),
        ("cov3d train --gradient", ["--gradient-checkpointing"]),
        ("cov3d preprocess --size ", ["tiny", "small", "medium", "large"]),
    ],
)
def test_the_shell_completes_commands_options_and_values(
    cov3d: Command, words: str, completed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_COV3D_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    ended = cov3d()
    assert (ended.code, ended.out.split(), ended.err) == (0, completed, "")


def test_completion_is_installed_by_an_option(cov3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    assert cov3d("--install-completion").code == 0
    script = tmp_path / ".bash_completions" / "cov3d.sh"
    assert "_COV3D_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
