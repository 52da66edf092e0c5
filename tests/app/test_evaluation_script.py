"""The script that evaluates from end to end: every command of it, as bash calls it, on few scans with a small network.

The script's `cov3d` is a stand-in that has its command line run by this process, where the small network is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Listener
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Ended

SCRIPT = Path(__file__).parents[2] / "docs" / "evaluation.sh"
STAND_IN = """#!{python}
import json, os, sys
from multiprocessing.connection import Client

with Client(("127.0.0.1", {port}), authkey={key!r}) as other:
    other.send_bytes(json.dumps([os.getcwd(), *sys.argv[1:]]).encode())
    sys.exit(int(other.recv_bytes()))
"""
KEY = b"evaluation"


@pytest.fixture
def run_script(cov3d: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run the script in a folder; each of its commands goes to a list, with how it ended."""

    def run(folder: Path, commands: list[tuple[list[str], Ended]]) -> int:
        with Listener(("127.0.0.1", 0), authkey=KEY) as listener:
            stand_in = tmp_path / "bin" / "cov3d"
            stand_in.parent.mkdir(exist_ok=True)
            stand_in.write_text(STAND_IN.format(python=sys.executable, port=listener.address[1], key=KEY))
            stand_in.chmod(0o755)
            path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
            # The last call, of no command, says that there is none to come.
            words = ["bash", "-c", 'bash "$0" "$1"; code=$?; cov3d; exit $code', str(SCRIPT), str(folder)]
            environment = {**os.environ, "PATH": path, "SCANS": "15", "EPOCHS": "1"}
            with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as script:
                while True:
                    with listener.accept() as other:
                        place, *command = json.loads(other.recv_bytes())
                        if not command:
                            other.send_bytes(b"0")
                            break
                        monkeypatch.chdir(place)
                        ended = cov3d(*command)
                        commands.append((command, ended))
                        other.send_bytes(str(ended.code).encode())
        return script.returncode

    return run


@pytest.mark.usefixtures("quick_network")
def test_the_script_evaluates_from_end_to_end(run_script: Callable[..., int], tmp_path: Path) -> None:
    data = tmp_path / "evaluation"
    commands: list[tuple[list[str], Ended]] = []
    assert run_script(data, commands) == 0, commands[-1]
    assert [command[0] for command, _ in commands] == [
        *("phantom", "folds", "preprocess", "crossval", "crossval", "compare", "compare", "ensemble", "ensemble"),
        *("submit", "check-submission", "check-submission", "report"),
    ]
    assert "every test scan stands in exactly one file of its task" in commands[-2][1].out
    scans = pd.read_csv(data / "scans.csv")
    (first,) = (data / "runs").glob("crossval_experiment-6_*")
    assert set(pd.read_csv(first / "out-of-fold-presence.csv")["scan"]) == set(scans["scan"][scans["label"].notna()])
    assert len(list((data / "submissions").glob("*/[123]/*.csv"))) == 3 * 2 + 3 * 4
    table = pd.read_csv(data / "report" / "table-5.csv").set_index("experiment")
    assert sorted(table.index[table["presence_cv_ours"].notna()]) == [6, 16]
    assert (data / "report" / "report.html").is_file()

    # Once more, as after an interruption: nothing is made or trained again, and the results are the same.
    kept = {file: file.stat().st_mtime_ns for file in (data / "runs").rglob("*.safetensors")}
    results = {file: file.read_bytes() for file in (data / "submissions").glob("*/[123]/*.csv")}
    assert run_script(data, again := []) == 0, again[-1]
    assert [command[0] for command, _ in again] == [command[0] for command, _ in commands][2:]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert {file: file.read_bytes() for file in results} == results
