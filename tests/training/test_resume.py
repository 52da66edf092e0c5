"""A run that is stopped and resumed is the unbroken one: in this process at every point, and killed for real."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from cov3d.errors import CheckpointError, OutputError
from cov3d.files import folder_lock
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint, resume
from cov3d.training.journal import Journal
from cov3d.training.learner import Run
from tests.conftest import Ended
from tests.training.conftest import fill
from tests.training.test_training import QUICK, run

OPTIONS = replace(QUICK, epochs=4, learning_rate=3e-3)
Labelled = tuple[Store, pd.DataFrame]


class KilledError(BaseException):
    """Stands for a kill: nothing in the code catches it."""


@pytest.fixture
def unbroken(labelled: Labelled, tmp_path: Path, quick_network: None) -> Path:
    run(labelled, tmp_path / "unbroken", OPTIONS)
    return tmp_path / "unbroken"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != resume.FILE_NAME}


def killed_at_write(number: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Run]) -> bool:
    """Whether `act` came to its write number `number`, at which it was killed."""
    writes = 0

    def counting(path: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == number:
            raise KilledError
        return original(path, target)

    original = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counting)
        try:
            act()
        except KilledError:
            return True
    return False


def test_killed_before_any_write_the_resumed_run_is_the_unbroken_one(
    labelled: Labelled, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 1
    while True:
        folder = tmp_path / f"killed-{number}"
        killed = killed_at_write(number, monkeypatch, lambda: run(labelled, folder, OPTIONS))  # noqa: B023
        if not killed:
            break
        (folder / ".0123456789abcdef.part").write_bytes(b"half of a file")  # what a real kill leaves
        run(labelled, folder, OPTIONS, continues=True)
        assert contents(folder) == contents(unbroken), f"killed at write {number}"
        number += 1
    assert number > 3 * OPTIONS.epochs


def test_a_finished_run_is_resumed_to_itself_without_training(
    labelled: Labelled, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(unbroken)
    monkeypatch.setattr(Journal, "after_epoch", lambda self: pytest.fail("an epoch was trained"))
    again = run(labelled, unbroken, OPTIONS, continues=True)
    assert again.resumed_after == OPTIONS.epochs
    assert contents(unbroken) == before


def test_a_network_that_cannot_be_built_leaves_the_earlier_run(
    labelled: Labelled, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.name != ".lock"}

    def fails(*given: object, **named: object) -> None:
        raise TypeError("no such network")

    monkeypatch.setattr("cov3d.training.start.Start.network", fails)
    with pytest.raises(TypeError, match="no such network"):
        run(labelled, folder, OPTIONS, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"} == before


def test_a_finished_run_whose_state_was_deleted_is_not_begun_anew(
    labelled: Labelled, unbroken: Path, cov3d: Callable[..., Ended], tmp_path: Path
) -> None:
    (unbroken / "last.pt").unlink()
    before = contents(unbroken)
    with pytest.raises(OutputError, match=r"can't be resumed, because it has no last\.pt"):
        run(labelled, unbroken, OPTIONS, continues=True)
    table = labelled[1]
    words = ["train", "--data", tmp_path, "--output-dir", unbroken, "--resume", "--size", "tiny", "--epochs", 4]
    words += ["--learning-rate", 3e-3]
    table.to_csv(tmp_path / "scans.csv", index=False)
    (unbroken / "curves.png").write_bytes(b"a picture")
    ended = cov3d(*words)
    assert (ended.code, f"the run in {unbroken} is finished" in ended.out) == (0, True), ended.err
    others = {
        "1 scan is labelled differently since (train/x/scan_1: mild, now severe)": table["label"].mask(
            table["scan"] == "train/x/scan_1", "severe"
        ),
        "1 scan is no longer in the scan table (train/x/scan_4)": table["label"].mask(
            table["scan"] == "train/x/scan_4", ""
        ),
    }
    for reported, labels in others.items():
        table.assign(label=labels).to_csv(tmp_path / "scans.csv", index=False)
        ended = cov3d(*words)
        assert (ended.code, reported in ended.err) == (2, True), ended.err
    table.to_csv(tmp_path / "scans.csv", index=False)
    ended = cov3d(*words, "--gamma", 3)
    assert (ended.code, "gamma was 2.0, now 3.0" in ended.err) == (2, True), ended.err
    (unbroken / "curves.png").unlink()
    assert contents(unbroken) == before


@pytest.mark.parametrize("gone", ["last.pt", "presence.safetensors"])
def test_what_can_not_be_made_again_is_not_thrown_away(
    labelled: Labelled, tmp_path: Path, quick_network: None, gone: str
) -> None:
    # The first epoch is the best: a network that learns nothing more.
    options = replace(OPTIONS, learning_rate=1e-12)
    folder = tmp_path / "run"
    run(labelled, folder, options)
    (folder / "summary.json").unlink()
    (folder / gone).unlink()
    before = contents(folder)
    with pytest.raises((OutputError, CheckpointError), match=gone):
        run(labelled, folder, options, continues=True)
    assert contents(folder) == before


def test_a_state_of_another_network_is_one_sentence(labelled: Labelled, unbroken: Path) -> None:
    content = torch.load(unbroken / "last.pt", weights_only=True)
    content["model"].pop("head.bias")
    torch.save(content, unbroken / "last.pt")
    with pytest.raises(CheckpointError, match="does not fit this version"):
        run(labelled, unbroken, OPTIONS, continues=True)


def test_a_run_that_was_stopped_before_its_first_epoch_was_done_is_named_as_unfinished(
    labelled: Labelled, unbroken: Path
) -> None:
    for file in unbroken.iterdir():
        if file.name != "config.json":
            file.unlink()
    with pytest.raises(OutputError, match="holds an unfinished run: continue it with --resume"):
        run(labelled, unbroken, OPTIONS)


def test_a_file_system_without_locks_is_worked_on_all_the_same(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_network: None
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    run(labelled, tmp_path / "run", OPTIONS)
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_folder_in_which_a_run_is_at_work_is_left_alone(labelled: Labelled, unbroken: Path) -> None:
    before = contents(unbroken)
    with folder_lock(unbroken, "run"), pytest.raises(OutputError, match="another run is using"):
        run(labelled, unbroken, OPTIONS, continues=True)
    assert contents(unbroken) == before


def test_without_resume_an_unfinished_run_is_named_as_one(labelled: Labelled, unbroken: Path) -> None:
    (unbroken / "summary.json").unlink()
    with pytest.raises(OutputError, match=r"holds an unfinished run: continue it with --resume"):
        run(labelled, unbroken, OPTIONS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 1e-4}, r"learning rate was 0\.003, now 0\.0001"),
        ({"epochs": 9}, "epochs was 4, now 9"),
        ({"dropout": 0.5, "seed": 3}, r"dropout was 0\.2, now 0\.5; seed was 0, now 3"),
    ],
)
def test_a_run_is_not_resumed_as_another(
    labelled: Labelled, unbroken: Path, change: dict[str, Any], sentence: str
) -> None:
    before = contents(unbroken)
    with pytest.raises(CheckpointError, match=f"was started differently .*{sentence}"):
        run(labelled, unbroken, replace(OPTIONS, **change), continues=True)
    assert contents(unbroken) == before


def test_a_run_is_not_resumed_on_other_scans(labelled: Labelled, unbroken: Path) -> None:
    store, table = labelled
    other = table.assign(label=table["label"].replace("mild", "severe"))
    with pytest.raises(CheckpointError, match=r"2 scans are labelled differently since \(.*: mild, now severe"):
        run((store, other), unbroken, OPTIONS, continues=True)


def test_the_resume_state_is_no_pickle_and_a_damaged_one_is_refused(labelled: Labelled, unbroken: Path) -> None:
    content = torch.load(unbroken / "last.pt", weights_only=True)
    assert content["epoch"] == OPTIONS.epochs
    (unbroken / "last.pt").write_bytes((unbroken / "last.pt").read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"last\.pt is damaged"):
        run(labelled, unbroken, OPTIONS, continues=True)


def test_a_full_disk_while_writing_the_state_is_one_sentence_and_keeps_the_one_before(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_network: None
) -> None:
    saves = 0
    original = torch.save

    def full(content: object, file: Any) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise OSError(28, "No space left on device")
        original(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"last\.pt can't be written: No space left"):
        run(labelled, tmp_path / "run", OPTIONS)
    state = resume.load(tmp_path / "run")
    assert state is not None
    assert state.epoch == 2
    assert not list((tmp_path / "run").glob("*.part"))
    monkeypatch.undo()


# --- killed for real, through the command line ---


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    labels = ["non-covid", "mild", "severe", "covid", "non-covid", "mild", "severe"]
    _, table = fill(root / "preprocessed" / "tiny", labels, [1, 1, 1, 1, 0, 0, 0])
    table.to_csv(root / "scans.csv", index=False)
    return root


def command(data: Path, folder: Path, *words: object) -> list[str]:
    return [
        *(sys.executable, "-m", "cov3d", "train", "--data", str(data), "--size", "tiny", "--no-pretrained"),
        *("--epochs", "3", "--device", "cpu", "--output-dir", str(folder), *map(str, words)),
    ]


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def begun(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
        # What a shell runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )


def wait_for(running: "subprocess.Popen[str]", file: Path) -> None:
    end = time.monotonic() + 120
    while not file.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end, f"{file} did not come"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through the command line that nothing broke."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    subprocess.run(command(data, folder), check=True, capture_output=True, env=ONE_THREAD)
    return folder


def test_killed_and_resumed_by_the_command_line(data: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    rng = random.Random(1)
    for _ in range(2):
        running = begun(command(data, folder, "--resume", "--workers", 2))
        wait_for(running, folder / "config.json")
        time.sleep(rng.uniform(0.2, 2.5))
        running.kill()
        running.communicate()
        if (folder / "last.pt").exists():
            assert resume.load(folder) is not None  # never half of one
        for file in folder.glob("*.safetensors"):
            checkpoint.load(file)
    ended = subprocess.run(command(data, folder, "--resume"), capture_output=True, text=True, env=ONE_THREAD)
    assert ended.returncode == 0, ended.stderr
    named = {name: content for name, content in contents(folder).items() if not name.endswith(".part")}
    assert named.keys() == contents(finished).keys()
    for name, content in contents(finished).items():
        if name not in ("config.json", "curves.png"):  # config.json says how many workers there were
            assert named[name] == content, name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_how_to_continue(data: Path, finished: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "run"
    running = begun(command(data, folder, "--workers", 1))
    wait_for(running, folder / "last.pt")
    os.killpg(running.pid, number)  # as a terminal and a batch system do: to the loading processes as well
    _, reported = running.communicate(timeout=60)
    if running.returncode == 0:
        pytest.skip("the run was done before the signal came")
    assert running.returncode == 130
    assert "--resume continues" in reported
    assert "Traceback" not in reported
    assert len(reported.strip().splitlines()) == 1
    assert resume.load(folder) is not None
