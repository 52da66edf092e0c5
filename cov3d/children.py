"""Processes that load or preprocess scans end when the process that started them ends, even by `kill -9`.

torch's loading processes look for their parent only while they wait for work, every five seconds, and a
`ProcessPoolExecutor`'s never do. Linux could send a signal (PR_SET_PDEATHSIG), but it does so when the *thread* that
started the process ends. So a thread in the child waits for the parent instead, on every system.
"""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_SECONDS_BETWEEN_LOOKS = 1.0


def end_with_parent() -> None:
    """End this process, within seconds, when the process that started it has ended; called once in a child."""
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(started_by: int) -> None:
    parent = parent_process()
    if parent is None:  # not a child of multiprocessing
        return
    # The sentinel tells at once, unless a process that was forked later has a copy of its other end: so look, too.
    while os.getppid() == started_by and not wait([parent.sentinel], _SECONDS_BETWEEN_LOOKS):
        pass
    os._exit(1)
