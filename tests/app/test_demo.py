"""The demo, whole, at its smallest."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cov3d.api.demonstration import settings, steps
from cov3d.app import demonstration
from cov3d.errors import OutputError
from tests.conftest import Ended


def test_the_demo_runs_end_to_end_and_says_how_to_do_it_by_hand(tmp_path: Path, cov3d: Callable[..., Ended]) -> None:
    folder = tmp_path / "demo"
    words = ["demo", str(folder), "--quick", "--seed", "101", "--device", "cpu", "--jobs", "2"]
    ended = subprocess.run([sys.executable, "-m", "cov3d", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    for picture in ("folds.png", "crop.png", "runs/demo/curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG"), picture
    assert (folder / "submission" / "presence" / "covid.csv").exists()
    assert (folder / "submission" / "severity" / "critical.csv").exists()
    opening, _, work = ended.stdout.partition("phantom ──")
    assert re.search(r"takes about \d+ seconds on two cores", opening)
    steps = re.findall(r"^  \d\. (\w+): ", opening, re.MULTILINE)
    assert steps == ["phantom", "folds", "preprocess", "train", "validate", "infer", "infer"]
    assert "too short for the network to learn" in opening
    assert work.index("crop.png") < work.index("preprocess ──")  # the first picture comes before the long steps
    assert "has learned nothing" in work.rpartition("The demo in figures")[2]
    assert "presence macro F1" not in work.rpartition("The demo in figures")[2]
    by_hand = [line.strip() for line in ended.stdout.split("by hand")[1].splitlines() if line.startswith("  cov3d ")]
    assert [line.split()[1] for line in by_hand] == [
        *("phantom", "folds", "preprocess", "train", "validate", "infer", "infer")
    ]
    assert "--scans 12 --seed 101" in by_hand[0]
    assert "--epochs 1 --batch-size 2 --learning-rate 0.001 --channels-last --seed 101 --device cpu" in by_hand[3]
    assert not any(f"{folder} " in line or f"{folder}/" in line for line in by_hand)

    again = cov3d("demo", folder)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert cov3d("phantom", tmp_path / "mine", "--scans", 12, "--resolution", 64, "--jobs", 1).code == 0
    assert cov3d("demo", tmp_path / "mine", "--overwrite").code == 2
    assert (tmp_path / "mine" / "train").is_dir()


def test_an_interrupted_demo_is_continued_by_the_same_command(
    tmp_path: Path, cov3d: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    words = ["demo", folder, "--scans", 12, "--epochs", 1]
    done: list[str] = []

    def run_all(app: object, directory: Path, *_: object) -> None:
        done.append(directory.name)
        (directory / f"step-{len(done)}").touch()
        if len(done) == 1:
            raise OutputError("the disk is full")

    monkeypatch.setattr(demonstration, "_run_all", run_all)
    monkeypatch.setattr(demonstration, "_print_results", lambda *_: None)
    monkeypatch.setattr("cov3d.api.demonstration.finish", lambda *_: {})
    assert cov3d(*words).code == 2
    other = cov3d("demo", folder, "--scans", 24, "--epochs", 1)
    assert (other.code, len(done)) == (2, 1)
    assert "unfinished demo of other options" in other.err
    again = cov3d(*words)
    assert again.code == 0, again.err
    assert "continuing the demo" in again.out
    assert sorted(path.name for path in folder.iterdir()) == [".demo.json", "step-1", "step-2"]
    assert cov3d(*words, "--overwrite").code == 0
    assert sorted(path.name for path in folder.iterdir()) == [".demo.json", "step-3"]


def test_the_usual_demo_learns_and_says_how_long_it_takes() -> None:
    usual = settings(scans=None, seed=0, epochs=None, quick=False)
    assert (usual.scans, usual.learns) == (128, True)
    assert re.fullmatch(r"[3-6] minutes", usual.duration)
    quick = settings(scans=None, seed=0, epochs=None, quick=True)
    assert (quick.scans, quick.epochs, quick.learns) == (12, 1, False)
    assert settings(scans=20, seed=0, epochs=None, quick=True) == replace(quick, scans=20)
    assert settings(scans=20, seed=0, epochs=7, quick=False) == replace(usual, scans=20, epochs=7)


def test_the_commands_by_hand_are_the_ones_that_run(tmp_path: Path) -> None:
    """Each option that a step passes stands on its line, with its value."""
    demo = settings(scans=None, seed=4, epochs=None, quick=False)
    for step in steps(tmp_path, demo, "cpu", jobs=None):
        words = step.line.split()
        for name, value in step.options.items():
            flag = f"--{name.replace('_', '-')}"
            if value is None or name in ("directory", "overwrite", "resume"):
                continue
            if isinstance(value, bool):
                assert (flag if value else flag.replace("--", "--no-", 1)) in words, step.line
            else:
                assert words[words.index(flag) + 1] == str(value[0] if isinstance(value, list) else value)
