"""Ctrl-C, SIGTERM and SIGHUP, at every moment of a command: one sentence and exit code 130."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cov3d.app import stopping
from cov3d.app.app import COMMANDS
from tests.app.commands import has_loaded, started, stopped, until

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
REPORT = "error: {}: the report is incomplete: run the command again\n"
PHANTOM = "the dataset is incomplete: delete its folder before you run the command again\n"


def test_every_command_says_what_becomes_of_its_work() -> None:
    assert set(stopping.WHAT_THEN) == {command.replace("_", "-") for command in COMMANDS}


@pytest.mark.parametrize(
    ("number", "word"), [(INT, "interrupted"), (TERM, "stopped by SIGTERM"), (HUP, "stopped by SIGHUP")]
)
def test_a_command_that_is_still_importing_says_so(number: signal.Signals, word: str, tmp_path: Path) -> None:
    running = started("report", "--data", tmp_path)
    until(running, lambda: has_loaded(running, "_multiarray_umath"))
    assert stopped(running, number) == (130, REPORT.format(word))


@pytest.mark.parametrize("number", [INT, TERM])
def test_processes_beside_it_say_nothing(number: signal.Signals, tmp_path: Path) -> None:
    running = started("phantom", tmp_path / "p", "--scans", 40, "--jobs", 2)
    until(running, (tmp_path / "p" / "README.txt").exists)  # the processes begin to import
    code, reported = stopped(running, number, number)  # twice, as an impatient person does
    assert (code, len(reported.splitlines())) == (130, 1), reported
    assert reported.endswith(PHANTOM)
    assert not list((tmp_path / "p").rglob("*.part"))


def test_killed_it_leaves_neither_a_word_nor_a_process(tmp_path: Path) -> None:
    running = started("phantom", tmp_path / "p", "--scans", 40, "--jobs", 2)
    until(running, lambda: any((tmp_path / "p" / ".writing").rglob("1.jpg")))
    running.kill()
    _, reported = running.communicate(timeout=30)  # all that hold its stderr have ended
    assert reported == ""


STARTING = """
import os, signal, time
from multiprocessing import util
from cov3d.app.stopping import watched
from cov3d.processes import Leash, Pool
start = util.spawnv_passfds
def and_interrupt(path, args, passfds):
    child = start(path, args, passfds)
    if any(b"spawn_main" in os.fsencode(word) for word in args):
        os.kill(os.getpid(), signal.SIGTERM)
    return child
util.spawnv_passfds = and_interrupt
with watched("phantom") as watch:
    try:
        with Leash() as leash, Pool(1, leash, int) as pool:
            print(pool.submit(int).result(), flush=True)
            time.sleep(5)
    except KeyboardInterrupt:
        print(watch.sentence())
"""


def test_a_process_that_is_being_started_is_not_cut_off() -> None:
    """The signal comes when the process runs, and has not been sent what it needs."""
    ended = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1].startswith("stopped by SIGTERM")


SWALLOWING = """
import os, signal, sys, time
from cov3d.app.stopping import watched
with watched("folds") as watch:
    for count in range(3):
        try:
            if not count:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            print("swallowed", flush=True)
            if count:
                break
print(watch.sentence())
"""


def test_a_library_that_swallows_the_exception_gets_another() -> None:
    ended = subprocess.run([sys.executable, "-c", SWALLOWING], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout.splitlines()[:2] == ["swallowed", "swallowed"]
    assert "stopped by SIGTERM: no scan table was half written" in ended.stdout


DELETING = """
import os, signal, time
from cov3d.app.stopping import watched
class Deleted:
    def __del__(self):
        print("deleted", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
class Broken:
    def __del__(self):
        raise ValueError("another error")
with watched("folds") as watch:
    try:
        Broken()
        Deleted()
        time.sleep(5)
    except KeyboardInterrupt:
        print(watch.sentence())
"""


def test_a_signal_while_an_object_is_deleted_prints_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", DELETING], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout.startswith("deleted\nstopped by SIGTERM: no scan table was half written")
    assert "ValueError: another error" in ended.stderr
    assert ended.stderr.count("Exception ignored") == 1


TIDYING = """
import os, signal, time
from cov3d.app.stopping import watched
with watched("folds"):
    try:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
            print("tidied up", flush=True)
    except KeyboardInterrupt:
        print("ended", flush=True)
"""


def test_what_tidies_up_is_not_interrupted_by_a_second_signal() -> None:
    ended = subprocess.run([sys.executable, "-c", TIDYING], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout.splitlines() == ["tidied up", "ended"]


FORKING = """
import os, signal, sys, time
from cov3d.app.stopping import watched
with watched("infer"):
    child = os.fork()
    if not child:
        time.sleep(20)
    time.sleep(0.3)
    os.kill(child, signal.SIGINT)
    time.sleep(0.3)
    print(os.waitpid(child, os.WNOHANG) == (0, 0), flush=True)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_ends_silently() -> None:
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=20, check=True)
    assert (ended.stdout.split(), ended.stderr) == (["True", "0"], "")


def test_a_signal_after_the_work_changes_nothing() -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "sys.argv = ['cov3d', '--version']\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "from cov3d.app import command_line\n"
        "command_line()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\s*", ended.stdout)


def test_what_is_ignored_in_the_background_stays_ignored() -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from cov3d.app.stopping import watched\n"
        "with watched('train'):\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('goes on')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "goes on\n"


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (INT, TERM, HUP, signal.SIGALRM)]
    with stopping.watched("train"):
        assert signal.getsignal(TERM) != before[1]
    assert [signal.getsignal(number) for number in (INT, TERM, HUP, signal.SIGALRM)] == before


@pytest.mark.slow  # many starts of the command line
@pytest.mark.parametrize("number", [INT, TERM])
@pytest.mark.parametrize("library", ["_multiarray_umath", "libtorch_cpu", "libtorch_python"])
@pytest.mark.parametrize("command", ["infer", "crossval", "train", "validate", "tune"])
def test_at_any_moment_of_its_start(command: str, library: str, number: signal.Signals, tmp_path: Path) -> None:
    here = ["--checkpoint", tmp_path / "c"] if command in ("infer", "validate") else ["--data", tmp_path]
    running = started(command, *here, *(["--scans", tmp_path] if command == "infer" else []))
    until(running, lambda: has_loaded(running, library))
    code, reported = stopped(running, number)
    assert (code, len(reported.splitlines())) == (130, 1), reported
    assert stopping.WHAT_THEN[command] in reported
