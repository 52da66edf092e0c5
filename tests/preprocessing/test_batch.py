"""A batch wherever it runs: bounded, resumable at any kill, the same store byte for byte."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from cov3d.errors import ClusterError, ScanError
from cov3d.preprocessing import batch
from cov3d.preprocessing.batch import Outcome, ScanResult, ScanTask, preprocess_scans, select_share
from cov3d.preprocessing.executors import processes
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from tests.conftest import Ended, sphere_chest, write_slices

SCANS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of many scans, of which few differ."""
    root = tmp_path_factory.mktemp("many")
    for number in range(4):
        write_slices(root / "different" / str(number), np.roll(sphere_chest(), number, axis=2))
    for number in range(SCANS):
        scan = root / "data" / "all" / f"scan_{number}"
        scan.parent.mkdir(parents=True, exist_ok=True)
        scan.symlink_to(root / "different" / str(number % 4))
    return root / "data"


@pytest.fixture(scope="module")
def scans(data: Path) -> dict[str, Path]:
    return {f"all/scan_{number}": data / "all" / f"scan_{number}" for number in range(SCANS)}


@pytest.fixture(scope="module")
def whole(data: Path, scans: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every byte of the store that one process makes without a break."""
    store = Store.create(tmp_path_factory.mktemp("whole") / "store", Size.TINY)
    preprocess_scans(scans, store)
    store.write_manifest()
    return contents(store.folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(data: Path, store: Path, *words: object) -> list[str]:
    return [
        *(sys.executable, "-m", "cov3d", "preprocess", "--data", str(data), "--size", "tiny"),
        *("--store", str(store), "--no-report"),
        *map(str, words),
    ]


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.005)


def records(store: Path) -> int:
    return len(list(store.glob("records/**/*.json")))


@pytest.mark.parametrize(
    ("number", "jobs", "code", "sentence"),
    [
        (signal.SIGKILL, 2, -signal.SIGKILL, ""),
        (signal.SIGINT, 2, 130, "interrupted: what was done is kept, and the same command continues from here"),
        (signal.SIGTERM, 1, 130, "stopped by SIGTERM: what was done is kept"),
    ],
)
def test_killed_and_resumed_gives_the_same_store(
    data: Path,
    scans: dict[str, Path],
    whole: dict[str, bytes],
    tmp_path: Path,
    number: signal.Signals,
    jobs: int,
    code: int,
    sentence: str,
) -> None:
    store = tmp_path / "store"
    running = subprocess.Popen(
        command(data, store, "--jobs", jobs),
        stderr=subprocess.PIPE,
        text=True,
        # What a shell runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: records(store) >= 5)
    workers = psutil.Process(running.pid).children()
    running.send_signal(number)
    _, reported = running.communicate(timeout=30)
    assert running.returncode == code
    assert sentence in reported
    assert "Traceback" not in reported
    assert psutil.wait_procs(workers, timeout=10)[1] == []  # nobody lives on
    assert 5 <= records(store) < SCANS
    # Half a file may lie aside, never in its place.
    assert all(name in whole for name in contents(store) if "/" in name and not name.startswith(".writing/"))

    opened = Store.create(store, Size.TINY)
    outcome = preprocess_scans(scans, opened)
    assert 5 <= len(outcome.present) < SCANS
    opened.write_manifest()
    assert contents(store) == whole


def test_a_killed_worker_is_replaced_and_its_scan_done_again(
    data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    running = subprocess.Popen(
        command(data, store, "--jobs", 2), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until(lambda: records(store) >= 5)
    worker = next(child for child in psutil.Process(running.pid).children() if "spawn_main" in str(child.cmdline()))
    worker.kill()
    _, reported = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "workers were killed 1 times" in reported
    assert contents(store) == whole


def test_shares_at_once_make_one_store(data: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "store"
    running = [
        subprocess.Popen(command(data, store, "--jobs", 1, "--shard", f"{number}/2"), stdout=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]
    reported = [one.communicate(timeout=60)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0]
    assert f"share 1 of 2: {SCANS // 2} scans preprocessed" in reported[0]
    assert contents(store) == whole


def test_two_runs_over_the_same_scans_at_once_make_one_store(
    scans: dict[str, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    def run(_: int) -> int:
        store = Store.create(tmp_path / "store", Size.TINY)
        outcome = preprocess_scans(scans, store)
        store.write_manifest()
        return len(outcome.done) + len(outcome.present)

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(run, range(3))) == [SCANS] * 3
    assert contents(tmp_path / "store") == whole


def test_shares_hold_every_scan_once_are_even_and_depend_on_names_alone() -> None:
    scans = [f"s{number:03}" for number in range(50)]
    shares = [select_share(scans, number, 8) for number in range(1, 9)]
    assert sorted(scan for share in shares for scan in share) == scans
    assert {len(share) for share in shares} == {6, 7}
    assert [select_share(reversed(scans), number, 8) for number in range(1, 9)] == shares
    assert select_share(["b", "a"], 3, 3) == []


class LostError(Exception):
    """What the executor below raises for a worker that was killed."""


class Fragile:
    """An executor without workers: all submitted calls end when the loop waits, or are lost, as requested."""

    lost = (LostError,)

    def __init__(self, fatal: set[str], most: int = 4) -> None:
        self.fatal, self.most = fatal, most
        self.out: list[tuple[str, Future[ScanResult]]] = []
        self.handed_out: list[int] = []

    def workers(self) -> int:
        return self.most

    def room(self) -> int:
        return self.most

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[ScanResult]:
        future: Future[ScanResult] = Future()
        self.out.append((arguments[0].scan, future))
        return future

    def wait(self, waiting: dict[Future[ScanResult], Any], *options: Any) -> Any:
        self.handed_out.append(len(waiting))
        lost = any(scan in self.fatal for scan, _ in self.out)
        for _, future in self.out:
            if lost:
                future.set_exception(LostError())
            else:
                future.set_result(ScanResult())
        self.out.clear()
        return type("Waited", (), {"done": set(waiting)})


def run_fragile(executor: Fragile, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Outcome:
    monkeypatch.setattr(batch, "wait", executor.wait)
    outcome = Outcome()
    todo = [ScanTask(f"s{number}", tmp_path / f"s{number}") for number in range(count)]
    for finished in batch._results(todo, Store(tmp_path, Size.TINY), executor, outcome):
        for scan, result in finished.items():
            outcome.add(scan, result)
    assert sorted([*outcome.done, *outcome.failed]) == sorted(task.scan for task in todo)
    return outcome


def test_no_more_is_handed_out_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    executor = Fragile(set())
    assert run_fragile(executor, 1000, monkeypatch, tmp_path).lost == 0
    assert max(executor.handed_out) == 4


def test_the_scan_that_kills_its_worker_is_found_and_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    executor = Fragile({"s5", "s6"})
    outcome = run_fragile(executor, 20, monkeypatch, tmp_path)
    assert set(outcome.failed) == {"s5", "s6"}
    assert "s5: its process was killed" in outcome.failed["s5"]
    assert outcome.lost == 3  # with its neighbours, then each alone
    assert executor.handed_out == [4, 4, 1, 1, 1, 1, 4, 4, 4]


def test_a_minute_without_a_scan_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where a cluster has no workers yet: the caller can say so."""

    class Slow(Fragile):
        def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[ScanResult]:
            return threads.submit(released.wait, 30) and threads.submit(ScanResult)

    monkeypatch.setattr(batch, "_SECONDS_OF_SILENCE", 0.01)
    released = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        results = batch._results([ScanTask("a", tmp_path)], Store(tmp_path, Size.TINY), Slow(set()), Outcome())
        assert next(results) == {}
        assert next(results) == {}
        released.set()
        assert {"a": ScanResult()} in list(results)


def test_a_pool_continues_after_a_worker_was_killed() -> None:
    with processes(2) as pool:
        for _ in range(2):
            killed = pool.submit(os._exit, 1)
            with pytest.raises(pool.lost):
                killed.result(timeout=30)
            assert pool.submit(abs, -3).result(timeout=30) == 3


def test_workers_compute_on_one_thread_and_are_small(
    scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    store = Store.create(tmp_path / "store", Size.TINY)
    with processes(1) as pool:
        assert pool.submit(batch._work, ScanTask("a", scans["all/scan_0"]), store).result(timeout=30) == ScanResult()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result(timeout=30) == "1"
        loaded = pool.submit(eval, "set(__import__('sys').modules)").result(timeout=30)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert not loaded & {"pandas", "torch", "fastai", "matplotlib", "SimpleITK", "distributed", "rich"}


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """The scheduler of a cluster of one worker process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as local:
        yield local.scheduler_address


def test_a_dask_cluster_makes_the_same_store(
    data: Path, whole: dict[str, bytes], tmp_path: Path, dask_address: str, cov3d: Callable[..., Ended]
) -> None:
    store = tmp_path / "store"
    ended = cov3d(*command(data, store)[3:], "--dask", dask_address)
    assert ended.code == 0, ended.err
    assert f"{SCANS} scans preprocessed" in ended.out
    assert contents(store) == whole


def test_dask_workers_that_are_not_fit_are_refused_before_the_work(
    scans: dict[str, Path], tmp_path: Path, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    with monkeypatch.context() as patch:
        patch.setattr("cov3d.__version__", "9.9")
        with pytest.raises(ClusterError, match=r"has cov3d .*, but this is cov3d 9\.9: install the same"):
            preprocess_scans(scans, store, dask=dask_address)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda path: True)  # here, but not in the worker
        with pytest.raises(ClusterError, match=r"does not see .*elsewhere.*: put scans and store on a file system"):
            preprocess_scans({"a": tmp_path / "elsewhere" / "a"}, store, dask=dask_address)
    assert records(store.folder) == 0


def test_a_bad_scan_on_a_dask_cluster_is_the_same_error(
    scans: dict[str, Path], tmp_path: Path, dask_address: str
) -> None:
    bad = {"bad": tmp_path / "bad", **scans}
    bad["bad"].mkdir()
    store = Store.create(tmp_path / "store", Size.TINY)
    with pytest.raises(ScanError, match="no JPEG slices"):
        preprocess_scans(bad, store, dask=dask_address)
    outcome = preprocess_scans(bad, store, dask=dask_address, skip_errors=True)
    assert list(outcome.failed) == ["bad"]
    assert len(outcome.present) + len(outcome.done) == SCANS


@pytest.mark.parametrize("address", ["nonsense:::", "tcp://127.0.0.1:9", "127.0.0.1"])
def test_a_scheduler_that_does_not_answer_is_an_error_soon(
    scans: dict[str, Path], tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("cov3d.preprocessing.cluster._TIMEOUT", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at .*: start one with `dask scheduler`"):
        preprocess_scans(scans, Store.create(tmp_path / "store", Size.TINY), dask=address)


def test_without_dask_the_command_to_install_it_is_named(
    scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'cov3d\[dask\]'"):
        preprocess_scans(scans, Store.create(tmp_path / "store", Size.TINY), dask="tcp://127.0.0.1:9")
