"""Runs the same work on every slice in threads, for libraries that release Python's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cov3d.processors import cpus

Result = TypeVar("Result")

_BLOCK = 8  # slices per task: few enough to share evenly, many enough to keep the overhead small
_MOST = 8  # with more threads, memory is the limit


def default_threads() -> int:
    """The number of threads to read one scan when nothing else runs: the available processors, up to eight."""
    return min(cpus(), _MOST)


def each(work: Callable[[int], Result], count: int, threads: int) -> list[Result]:
    """The results of `work(0)` to `work(count - 1)`, in order. One thread means the calling thread."""
    if threads == 1:
        return [work(index) for index in range(count)]

    def block(start: int) -> list[Result]:
        return [work(index) for index in range(start, min(start + _BLOCK, count))]

    with ThreadPoolExecutor(threads) as pool:
        return [result for results in pool.map(block, range(0, count, _BLOCK)) for result in results]
