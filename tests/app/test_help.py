"""Help at any width, and errors of usage in one sentence."""

import re

import pytest
import typer.main

from cov3d.app.app import COMMANDS, Cov3d
from tests.app.conftest import Command


def declared(command: str) -> set[str]:
    """Every form of every option that a command declares."""
    found = typer.main.get_command(Cov3d().main_app).commands[command].params
    return {word for parameter in found for word in (*parameter.opts, *parameter.secondary_opts) if word[0] == "-"}


@pytest.mark.parametrize("width", ["60", "80", "200"])
@pytest.mark.parametrize("command", [command.replace("_", "-") for command in COMMANDS])
def test_every_name_of_an_option_is_unbroken(
    cov3d: Command, command: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = cov3d(command, "--help").out
    assert declared(command) <= set(re.findall(r"(?<!\S)(-[\w-]+)(?=[ ,\n])", text))
    assert max(map(len, text.splitlines())) <= int(width)


def test_what_an_option_takes_and_its_default_stand_with_it(cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", cov3d("train", "--help").out).split())
    assert "Loss (section 3.2) --gamma <float> γ of the focal loss; 0 or more. [default: (2)]" in text
    assert "--gradient-checkpointing / --no-gradient-checkpointing Save memory" in text
    assert "-j, --jobs <int range>" in cov3d("infer", "--help").out
    assert "[required]" in cov3d("infer", "--help").out


@pytest.mark.parametrize("width", ["40", "300"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("nonsense", "No such command 'nonsense': see .* --help"),
        ("train --size huge", "Invalid value for '--size': 'huge' is not one of 'tiny', .*: see .* train --help"),
        ("train --speed 9", "No such option: --speed .*: see .* train --help"),
        ("train --fold 9", "--fold must be from 0 to 4, not 9"),
        ("folds --seed -1", "Invalid value for '--seed': -1 is not in the range x>=0: see .* folds --help"),
        ("train --epochs many", "Invalid value for '--epochs': 'many' is not a valid int.*"),
        ("infer", "Missing option '--checkpoint': see .* infer --help"),
        ("infer --checkpoint", "Option '--checkpoint' requires an argument"),
        ("compare a", "Missing argument 'run_b': see .* compare --help"),
        ("experiments more", "Got unexpected extra argument.*more.*"),
        ("", "Missing command: see .* --help"),
    ],
)
def test_an_error_of_usage_is_one_sentence(
    cov3d: Command, words: str, sentence: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    ended = cov3d(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(f"error: {sentence}\n", ended.err)
