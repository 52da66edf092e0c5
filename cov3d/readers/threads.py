"""The same work on every slice, in threads: for libraries that let go of Python's lock while they work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cov3d.processors import cpus

Result = TypeVar("Result")

_BLOCK = 8  # slices handed out at a time: few enough to share evenly, many enough to cost nothing
_MOST = 8  # threads past which memory, not arithmetic, sets the pace


def default_threads() -> int:
    """Threads to read one scan with when nothing else runs: the processors that this process may use, up to eight."""
    return min(cpus(), _MOST)


def each(work: Callable[[int], Result], count: int, threads: int) -> list[Result]:
    """`work(0)` to `work(count - 1)`, in order, whichever thread did which; with one thread, in this one."""
    if threads == 1:
        return [work(index) for index in range(count)]

    def block(start: int) -> list[Result]:
        return [work(index) for index in range(start, min(start + _BLOCK, count))]

    with ThreadPoolExecutor(threads) as pool:
        return [result for results in pool.map(block, range(0, count, _BLOCK)) for result in results]
