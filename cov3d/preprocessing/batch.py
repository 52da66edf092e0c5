"""Preprocess many scans into a store. The same loop serves every executor: see `executors`."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from cov3d.errors import ScanError
from cov3d.preprocessing.executors import Executor, processes, this_process
from cov3d.preprocessing.overrides import Override, is_applied
from cov3d.preprocessing.pipeline import preprocess_scan
from cov3d.preprocessing.store import Store

_SECONDS_OF_SILENCE = 60
_LOST = (
    "its process was killed, and killed again when the scan was tried alone, most often because memory ran out: "
    "preprocess it on a machine with more memory, or skip it with --skip-errors; finished scans are kept"
)


@dataclass(frozen=True)
class ScanTask:
    """One scan to preprocess: its name, its path and the box that a person gave for it, if any."""

    scan: str
    path: Path
    override: Override | None = None


@dataclass(frozen=True)
class ScanResult:
    """The result for one scan. It was preprocessed unless `error` is set or it was already `present`."""

    error: str | None = None
    present: bool = False


@dataclass
class Outcome:
    """The result for a batch, so far.

    Attributes:
        present: names of the scans that were already in the store, or that another run added meanwhile.
        done: names of the scans preprocessed by this call.
        failed: error messages by scan name.
        lost: number of times that a worker was killed.
        workers: current number of workers; 0 in a cluster that has not started any yet.
    """

    present: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    workers: int = 1

    def add(self, scan: str, result: ScanResult) -> None:
        """Add the result for one scan."""
        if result.error is not None:
            self.failed[scan] = result.error
        elif result.present:
            self.present.append(scan)
        else:
            self.done.append(scan)


def select_share(scan_names: Iterable[str], number: int, n_shares: int) -> list[str]:
    """Share `number` (from 1) of the scans split into `n_shares`: every `n_shares`-th name in sorted order.

    The shares depend only on the names, and their sizes differ by at most one scan. Neighbours in the list have the
    same class and often the same scanner. They go to different shares, so all shares take about the same time.
    """
    return sorted(scan_names)[number - 1 :: n_shares]


def preprocess_scans(
    scan_paths: Mapping[str, Path],
    store: Store,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
    jobs: int = 1,
    dask: str | None = None,
    skip_errors: bool = False,
    on_scan: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Preprocess scans into the store. Scans that are already there are kept.

    Args:
        scan_paths: path of each scan, by name.
        store: where to write.
        overrides: boxes given by a person, by scan. A stored scan that was made with another box is preprocessed again.
        jobs: number of processes. Each works on one scan at a time, with one thread.
        dask: address of a Dask scheduler. Its workers then do the work.
        skip_errors: skip scans that can't be read; their errors are in the outcome.
        on_scan: called with the outcome so far whenever scans are finished, and at least once a minute.

    Raises:
        ScanError: a scan can't be read, or its worker was killed. Scans finished before that are in the store.
        ClusterError: the Dask cluster can't be reached or used, or the connection is lost.
        OutputError: the store can't be written.
    """
    if dask is not None:  # the workers may have another working directory
        scan_paths = {scan: path.absolute() for scan, path in scan_paths.items()}
        store = Store(store.folder.absolute(), store.size)
    outcome, todo = Outcome(), []
    for task in (ScanTask(scan, path, overrides.get(scan)) for scan, path in scan_paths.items()):
        if _is_done(task, store):
            outcome.present.append(task.scan)
        else:
            todo.append(task)
    on_scan(outcome)
    if not todo:
        return outcome
    with _executor(todo, store, jobs, dask) as executor:
        for finished in _results(todo, store, executor, outcome):
            for scan, result in finished.items():
                outcome.add(scan, result)
                if result.error is not None and not skip_errors:
                    raise ScanError(result.error)
            outcome.workers = executor.workers()
            on_scan(outcome)
    return outcome


def _is_done(task: ScanTask, store: Store) -> bool:
    return store.has(task.scan) and is_applied(store.record(task.scan), task.override)


def _executor(todo: Sequence[ScanTask], store: Store, jobs: int, dask: str | None) -> AbstractContextManager[Executor]:
    if dask is not None:
        from cov3d.preprocessing.cluster import cluster

        root = Path(os.path.commonpath(task.path.parent for task in todo))
        return cluster(dask, visible=[path for path in (root, store.settings_file) if path.exists()])
    return this_process() if jobs == 1 or len(todo) == 1 else processes(min(jobs, len(todo)))


def _results(
    todo: Iterable[ScanTask], store: Store, executor: Executor, outcome: Outcome
) -> Iterator[dict[str, ScanResult]]:
    """Yield results by scan name as they arrive. At most `executor.room()` scans are submitted at a time.

    An empty dict is yielded after a minute without a result, so that the caller can report that the work continues.

    When a worker is lost, any of the submitted scans may be the cause. They are tried again one by one, which finds
    the cause and finishes the others.
    """
    queue = iter(todo)
    waiting: dict[Future[ScanResult], ScanTask] = {}
    again: deque[ScanTask] = deque()
    alone: Future[ScanResult] | None = None
    while True:
        if again and not waiting:
            task = again.popleft()
            alone = executor.submit(_work, task, store)
            waiting[alone] = task
        elif not again and alone is None:
            for task in islice(queue, max(0, executor.room() - len(waiting))):
                waiting[executor.submit(_work, task, store)] = task
        if not waiting:
            return
        finished: dict[str, ScanResult] = {}
        for future in wait(waiting, _SECONDS_OF_SILENCE, FIRST_COMPLETED).done:
            task = waiting.pop(future)
            try:
                finished[task.scan] = future.result()
            except executor.lost:
                outcome.lost += future is alone or not again
                if future is alone:
                    finished[task.scan] = ScanResult(error=f"{task.path}: {_LOST}")
                else:
                    again.append(task)
            if future is alone:
                alone = None
        yield finished


def _work(task: ScanTask, store: Store) -> ScanResult:
    """Preprocess one scan, unless another run has done so meanwhile."""
    if _is_done(task, store):
        return ScanResult(present=True)
    try:
        store.write(task.scan, preprocess_scan(task.path, [store.size], override=task.override, draw=True))
    except ScanError as error:
        return ScanResult(error=str(error))
    except MemoryError:
        return ScanResult(error=f"{task.path} does not fit into memory: use fewer jobs, or a machine with more memory")
    return ScanResult()
