"""Many scans → the store. One loop, whatever does the work: see `executors`."""

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
from cov3d.preprocessing.executors import Executor, here, processes
from cov3d.preprocessing.overrides import Override, in_force
from cov3d.preprocessing.pipeline import preprocess_scan
from cov3d.preprocessing.store import Store

_SECONDS_OF_SILENCE = 60
_LOST = (
    "the process that worked on it was killed, and again when it was tried alone, most often for want of memory: "
    "preprocess it on a machine with more, or go on past it with --skip-errors; what was done is kept"
)


@dataclass(frozen=True)
class Task:
    """One scan to preprocess: its name, where it is, and a person's box for it."""

    scan: str
    path: Path
    override: Override | None = None


@dataclass(frozen=True)
class Result:
    """What became of one scan: done unless `error` says what is wrong with it or it was `present`."""

    error: str | None = None
    present: bool = False


@dataclass
class Outcome:
    """What became of a batch.

    Attributes:
        present: scans that were in the store already, or that another run put there meanwhile.
        done: scans done now.
        failed: what was wrong with the others.
        lost: how many times a worker was killed.
        workers: how many there are at the moment; none in a cluster that has yet to grow.
    """

    present: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    workers: int = 1

    def add(self, scan: str, result: Result) -> None:
        """Take in what became of one scan."""
        if result.error is not None:
            self.failed[scan] = result.error
        elif result.present:
            self.present.append(scan)
        else:
            self.done.append(scan)


def deal(scans: Iterable[str], number: int, of: int) -> list[str]:
    """Share `number` (from 1) of `of` shares of the scans: every `of`-th of them in the order of their names.

    The shares depend on the names only and differ by at most one scan. Neighbours in the list, which are of one
    class and often of one scanner, go to different shares: so these take about as long as each other.
    """
    return sorted(scans)[number - 1 :: of]


def preprocess_scans(
    scans: Mapping[str, Path],
    store: Store,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
    jobs: int = 1,
    dask: str | None = None,
    skip_errors: bool = False,
    on_scan: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Preprocess `scans` (path by name) into the store; what is there already stays as it is.

    Args:
        overrides: boxes given by a person, by scan. A scan in the store whose box was another then is done again.
        jobs: processes; each works on one scan at a time with one thread.
        dask: the address of a Dask scheduler, whose workers then do the work instead.
        skip_errors: go on past scans that can't be read; their errors are in the outcome.
        on_scan: called when scans were done, and at least once a minute, with the outcome so far.

    Raises:
        ScanError: a scan can't be read, or a worker was killed over it. What was done by then is in the store.
        ClusterError: the Dask cluster can't be reached or used, or is lost.
        OutputError: the store can't be written.
    """
    if dask is not None:  # the workers are elsewhere
        scans = {scan: path.absolute() for scan, path in scans.items()}
        store = Store(store.folder.absolute(), store.size)
    outcome, todo = Outcome(), []
    for task in (Task(scan, path, overrides.get(scan)) for scan, path in scans.items()):
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


def _is_done(task: Task, store: Store) -> bool:
    return store.has(task.scan) and in_force(store.record(task.scan), task.override)


def _executor(todo: Sequence[Task], store: Store, jobs: int, dask: str | None) -> AbstractContextManager[Executor]:
    if dask is not None:
        from cov3d.preprocessing.cluster import cluster

        root = Path(os.path.commonpath(task.path.parent for task in todo))
        return cluster(dask, visible=[path for path in (root, store.settings_file) if path.exists()])
    return here() if jobs == 1 or len(todo) == 1 else processes(min(jobs, len(todo)))


def _results(todo: Iterable[Task], store: Store, executor: Executor, outcome: Outcome) -> Iterator[dict[str, Result]]:
    """What became of the scans, as it comes, with never more handed out than the executor has room for.

    Nothing (an empty dict) comes when a minute has gone by without any, so that the caller can say so.

    When a worker was lost, it may have been over any of the scans handed out. They are tried again one by one: then
    it is known over which, and the others are done.
    """
    queue = iter(todo)
    waiting: dict[Future[Result], Task] = {}
    again: deque[Task] = deque()
    alone: Future[Result] | None = None
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
        finished: dict[str, Result] = {}
        for future in wait(waiting, _SECONDS_OF_SILENCE, FIRST_COMPLETED).done:
            task = waiting.pop(future)
            try:
                finished[task.scan] = future.result()
            except executor.lost:
                outcome.lost += future is alone or not again
                if future is alone:
                    finished[task.scan] = Result(error=f"{task.path}: {_LOST}")
                else:
                    again.append(task)
            if future is alone:
                alone = None
        yield finished


def _work(task: Task, store: Store) -> Result:
    """Preprocess one scan, unless another run has done so meanwhile."""
    if _is_done(task, store):
        return Result(present=True)
    try:
        store.write(task.scan, preprocess_scan(task.path, [store.size], override=task.override, draw=True))
    except ScanError as error:
        return Result(error=str(error))
    except MemoryError:
        return Result(
            error=f"{task.path} does not fit into memory: preprocess it on a machine with more, or with fewer jobs"
        )
    return Result()
