"""The demo, whole, at its smallest."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cov3d.app import demonstration
from cov3d.errors import OutputError
from tests.conftest import Ended


def test_the_demo_runs_end_to_end_and_says_how_to_do_it_by_hand(tmp_path: Path, cov3d: Callable[..., Ended]) -> None:
    folder = tmp_path / "demo"
    words = ["demo", str(folder), "--scans", "12", "--epochs", "1", "--seed", "101", "--device", "cpu", "--jobs", "2"]
    ended = subprocess.run([sys.executable, "-m", "cov3d", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    for picture in ("folds.png", "crop.png", "runs/demo/curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG"), picture
    assert (folder / "submission" / "presence" / "covid.csv").exists()
    assert (folder / "submission" / "severity" / "critical.csv").exists()
    assert "validation presence macro F1" in ended.stdout
    by_hand = [line.strip() for line in ended.stdout.split("by hand")[1].splitlines() if line.startswith("  cov3d ")]
    assert [line.split()[1] for line in by_hand] == [
        *("phantom", "folds", "preprocess", "train", "validate", "infer", "infer")
    ]
    assert "--scans 12 --seed 101" in by_hand[0]
    assert "--epochs 1 --batch-size 4 --learning-rate 0.001 --seed 101 --device cpu" in by_hand[3]
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

    def steps(app: object, directory: Path, *_: object) -> tuple[None, list[str]]:
        done.append(directory.name)
        (directory / f"step-{len(done)}").touch()
        if len(done) == 1:
            raise OutputError("the disk is full")
        return None, []

    monkeypatch.setattr(demonstration, "_steps", steps)
    monkeypatch.setattr(demonstration, "_close", lambda *_: None)
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
