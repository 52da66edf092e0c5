"""Runs the same work on every slice in threads, for libraries that release Python's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cov3d.processors import cpus

Result = TypeVar("Result")

BLOCK = 8
"""Slices per task: few enough to share evenly, many enough to keep the overhead small."""
_MOST = 8  # with more threads, memory is the limit


def default_threads() -> int:
    """The number of threads to read one scan when nothing else runs: the available processors, up to eight."""
    return min(cpus(), _MOST)


def each(work: Callable[[int], Result], count: int, threads: int) -> list[Result]:
    """The results of `work(0)` to `work(count - 1)`, in order. One thread means the calling thread."""
    found = in_blocks(lambda block: [work(index) for index in range(block.start, block.stop)], count, threads)
    return [result for results in found for result in results]


def in_blocks(work: Callable[[slice], Result], count: int, threads: int, block: int = BLOCK) -> list[Result]:
    """The results of `work` for each block of slices, in order. One thread means the calling thread."""
    blocks = [slice(start, min(start + block, count)) for start in range(0, count, block)]
    if threads == 1:
        return list(map(work, blocks))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, blocks))
