"""Many scans → the store, in this process or in several."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from threadpoolctl import threadpool_limits

from cov3d.errors import ScanError
from cov3d.preprocess.overrides import Override, in_force
from cov3d.preprocess.pipeline import preprocess_scan
from cov3d.preprocess.store import Store


@dataclass(frozen=True)
class Task:
    """One scan to preprocess: where it is, and a person's box for it."""

    path: Path
    override: Override | None = None


@dataclass
class Outcome:
    """What became of a batch: scans there already, scans done now, and what was wrong with the others."""

    present: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def preprocess_scans(
    scans: Mapping[str, Path],
    store: Store,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
    jobs: int = 1,
    skip_errors: bool = False,
    on_scan: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Preprocess `scans` (path by name) into the store; what is there already stays as it is.

    Args:
        overrides: boxes given by a person, by scan. A scan in the store whose box was another then is done again.
        jobs: processes; each works on one scan at a time with one thread.
        skip_errors: go on past scans that can't be read; their errors are in the outcome.
        on_scan: called after each scan with the outcome so far.

    Raises:
        ScanError: a scan can't be read, or a worker was killed. What was done by then is in the store.
    """
    outcome = Outcome(present=[scan for scan in scans if _is_done(scan, store, overrides.get(scan))])
    here = set(outcome.present)
    todo = {scan: Task(path, overrides.get(scan)) for scan, path in scans.items() if scan not in here}
    on_scan(outcome)
    for scan, error in _run(todo, store, jobs):
        if error is None:
            outcome.done.append(scan)
        elif skip_errors:
            outcome.failed[scan] = error
        else:
            raise ScanError(error)
        on_scan(outcome)
    return outcome


def _is_done(scan: str, store: Store, override: Override | None) -> bool:
    return store.has(scan) and in_force(store.record(scan), override)


def _run(todo: Mapping[str, Task], store: Store, jobs: int) -> Iterator[tuple[str, str | None]]:
    if jobs == 1 or len(todo) < 2:
        with threadpool_limits(1):
            for scan, task in todo.items():
                yield scan, _work(scan, task, store)
        return
    # Spawned, not forked: a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(todo)), mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from _bounded(pool, todo.items(), store, ahead=2 * jobs)
        except BrokenProcessPool as error:
            raise ScanError(
                "a worker was killed, most often for want of memory: run again with fewer --jobs; what was done is kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _bounded(
    pool: ProcessPoolExecutor, todo: Iterable[tuple[str, Task]], store: Store, ahead: int
) -> Iterator[tuple[str, str | None]]:
    """Results as they come, with never more than `ahead` scans handed out."""
    waiting: dict[Future[str | None], str] = {}
    scans = iter(todo)
    while True:
        for scan, task in islice(scans, ahead - len(waiting)):
            waiting[pool.submit(_work, scan, task, store)] = scan
        if not waiting:
            return
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            yield waiting.pop(future), future.result()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threadpool_limits(1)


def _work(scan: str, task: Task, store: Store) -> str | None:
    """Preprocess one scan; the sentence that says what is wrong with it, or None."""
    try:
        store.write(scan, preprocess_scan(task.path, [store.size], override=task.override, draw=True))
    except ScanError as error:
        return str(error)
    return None
