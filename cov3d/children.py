"""End processes that load or preprocess scans when their parent process ends, even after `kill -9`.

torch's loading processes check for their parent only while they wait for work, every five seconds. The processes of a
`ProcessPoolExecutor` never check. Linux can send a signal (PR_SET_PDEATHSIG), but does so when the *thread* that
started the process ends. So a thread in the child waits for the parent, on every system.
"""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_SECONDS_BETWEEN_CHECKS = 1.0


def end_with_parent() -> None:
    """End this process within seconds after its parent has ended. Call it once in the child."""
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(started_by: int) -> None:
    parent = parent_process()
    if parent is None:  # not a child of multiprocessing
        return
    # The sentinel reacts at once, unless a process forked later has a copy of its other end: so also check the parent.
    while os.getppid() == started_by and not wait([parent.sentinel], _SECONDS_BETWEEN_CHECKS):
        pass
    os._exit(1)
