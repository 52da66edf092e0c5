"""A trial Slurm (`single_node_slurm.sh start`) for the tests: submit, wait, requeue, and take the node away."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PENDING, RUNNING, COMPLETED = "PENDING", "RUNNING", "COMPLETED"
_ACTIVE = (PENDING, RUNNING, "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")


def is_up() -> bool:
    """Whether there is a Slurm, and it is the trial one: a real cluster is left alone."""
    if shutil.which("sbatch") is None:
        return False
    ended = subprocess.run(["sinfo", "-h", "-o", "%P"], capture_output=True, text=True, check=False)
    return ended.stdout.split() == ["trial*"]


def call(*words: object) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout.strip()


def submit(
    script: Path, words: Sequence[object], options: Sequence[str], folder: Path, path: Path, **names: str
) -> str:
    """Submit a batch script; the number of the job.

    Args:
        script: the script.
        words: its words.
        options: of sbatch, which come before those of the script.
        folder: the job's working directory, where its output goes.
        path: a folder with commands.
        names: environment variables of the job.
    """
    environment = os.environ | names | {"PATH": f"{path}:{os.environ['PATH']}"}
    given = ["sbatch", "--parsable", *options, str(script), *map(str, words)]
    return subprocess.run(given, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def fact(job: str, name: str) -> str:
    """A field of `scontrol show job`, such as `JobState`; `job` may be a task of an array, such as `7_0`."""
    found = re.search(rf"\b{name}=(\S+)", call("scontrol", "show", "job", "-o", job))
    assert found is not None, name
    return found[1]


def state(job: str) -> str:
    """The state of a job."""
    return fact(job, "JobState")


def wait(is_so: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it did not become so.
    """
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(call("squeue", "-r"))
        time.sleep(0.5)


def requeue(job: str) -> None:
    """Put a job that has ended into the queue again."""
    call("scontrol", "requeue", job)
    begin_now(job)


def begin_now(job: str) -> None:
    """Let a job that is in the queue again begin now; Slurm waits two minutes."""
    wait(lambda: state(job) == PENDING)
    call("scontrol", "update", f"jobid={job}", "starttime=now")


def wait_for_end(*jobs: str) -> None:
    """Wait until jobs are neither running nor waiting."""
    for job in jobs:
        wait(lambda job=job: state(job) not in _ACTIVE)  # type: ignore[misc]


def node(new_state: str) -> None:
    """Set the state of the node: `drain`, `down` or `resume`."""
    name = call("sinfo", "-h", "-N", "-o", "%N")
    call("scontrol", "update", f"nodename={name}", f"state={new_state}", "reason=trial")
