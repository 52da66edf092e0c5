"""A process that preprocesses: one thread, and freed memory kept for the next scan."""

import platform
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from cov3d.preprocessing.executors import this_process

PAGES_FETCHED_AGAIN = """
import resource
import numpy as np
from cov3d.preprocessing.process import set_up
{set_up}
def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    volumes = [np.ones((20, 1024, 1024), dtype=np.uint8) for _ in range(3)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fetched(), fetched()
print(fetched())
"""


def pages_fetched_again(set_up: str) -> int:
    code = PAGES_FETCHED_AGAIN.format(set_up=set_up)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept_for_the_next_scan() -> None:
    assert pages_fetched_again("set_up()") < 1000 < pages_fetched_again("")


def test_the_limit_to_one_thread_is_lifted_afterwards() -> None:
    import numpy  # noqa: F401 - its BLAS is what has threads

    before = [pool["num_threads"] for pool in threadpool_info()]
    with this_process():
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
