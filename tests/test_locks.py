"""Folders are held by the process that took them, and loading processes end with it: with real processes, killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cov3d.errors import OutputError
from cov3d.files import folder_lock

_FORKS = """
import os, sys, time
from pathlib import Path
from cov3d.files import folder_lock
with folder_lock(Path(sys.argv[1]), "cov3d"):
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""

_LOADS = """
import os, sys, time
import torch
from cov3d.training.loaders import scan_loader
class Slow(torch.utils.data.Dataset):
    item_bytes = 1
    def __len__(self): return 4
    def __getitem__(self, index):
        print(os.getpid(), flush=True)
        time.sleep(60)
next(iter(scan_loader(Slow(), batch_size=1, workers=1, device=torch.device("cpu"))))
"""

_PREDICTS = """
import os, sys, time
from pathlib import Path
from cov3d.inference import raw_scans
def slow(path, sizes, **options):
    print(os.getpid(), flush=True)
    time.sleep(60)
raw_scans.preprocess_scan = slow
next(raw_scans.raw_scan_batches({"a": Path("a")}, raw_scans.Preparation([]), jobs=1, batch_size=1))
"""


def begun(script: str, *arguments: object) -> tuple["subprocess.Popen[str]", int]:
    """A process that runs `script`, and the number of the child that it prints."""
    words = [sys.executable, "-c", script, *map(str, arguments)]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout is not None
    with running.stdout as printed:
        return running, int(printed.readline())


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ends_within(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(process)


@pytest.fixture
def killed() -> Callable[[int], None]:
    def kill(process: int) -> None:
        if is_alive(process):
            os.kill(process, signal.SIGKILL)

    return kill


def test_a_folder_is_free_at_once_when_its_process_is_killed_though_a_forked_child_lives_on(
    tmp_path: Path, killed: Callable[[int], None]
) -> None:
    running, child = begun(_FORKS, tmp_path / "out")
    try:
        with pytest.raises(OutputError, match="another cov3d is using"), folder_lock(tmp_path / "out", "cov3d"):
            pass
        running.kill()
        running.wait()
        assert is_alive(child)
        with folder_lock(tmp_path / "out", "cov3d"):
            pass
    finally:
        killed(child)


@pytest.mark.parametrize("script", [_LOADS, _PREDICTS], ids=["training", "inference"])
def test_a_loading_process_ends_with_its_parent_though_it_is_at_work(
    script: str, killed: Callable[[int], None]
) -> None:
    running, child = begun(script)
    try:
        running.kill()
        running.wait()
        assert ends_within(child, 10)
    finally:
        killed(child)


def test_a_folder_is_held_against_every_other_block_but_those_that_nest(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path, "run"),
        pytest.raises(OutputError, match="another run is using"),
        folder_lock(tmp_path, "run"),
    ):
        pass
    refused: list[str] = []

    def other_thread() -> None:
        try:
            with folder_lock(tmp_path, "thread"):
                pass
        except OutputError as error:
            refused.append(str(error))

    with folder_lock(tmp_path, "demo", nests=True):
        with folder_lock(tmp_path, "phantom"), folder_lock(tmp_path / "below", "run"):
            pass
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        held_on = subprocess.run([sys.executable, "-c", _FORKS, str(tmp_path)], capture_output=True, text=True)
        assert "another cov3d is using" in held_on.stderr
    assert refused == [f"another thread is using {tmp_path}: wait for it, or give another --output-dir"]
    with folder_lock(tmp_path, "run"):
        pass


def test_no_lock_file_is_left_where_it_is_not_wanted(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "empty", "run", removes=True):
        assert (tmp_path / "empty").is_dir()
    assert not (tmp_path / "empty").exists()
    with folder_lock(tmp_path, "folds", removes=True):
        assert [file.name for file in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"), folder_lock(tmp_path / "file", "run"):
        pass


def test_a_lock_file_that_was_removed_meanwhile_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    real, removed = fcntl.flock, []

    def removed_before(opened: object, how: int) -> None:
        if not removed:  # as if its holder had ended between the opening and the locking
            removed.append(True)
            (tmp_path / ".lock").unlink()
        real(opened, how)  # type: ignore[arg-type]

    monkeypatch.setattr("fcntl.flock", removed_before)
    with folder_lock(tmp_path, "run"):
        monkeypatch.undo()
        held_on = subprocess.run([sys.executable, "-c", _FORKS, str(tmp_path)], capture_output=True, text=True)
        assert "another cov3d is using" in held_on.stderr
