"""The scripts of `examples/slurm/` and the workflow on a trial Slurm: kills, time limits, a lost and a drained node."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.app.conftest import Command
from tests.workflow import slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not slurm.is_up(), reason="needs tests/workflow/single_node_slurm.sh start"),
]

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples" / "slurm"
EPOCHS = 6
TRAINING = ("--size", "tiny", "--epochs", EPOCHS, "--no-pretrained", "--workers", 1)


class Cluster:
    """A folder with a dataset, whose jobs run on the trial Slurm."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.bin = folder, folder / "DATA", folder / "bin"
        self.bin.mkdir()
        cov3d = self.bin / "cov3d"
        cov3d.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec "{sys.executable}" -m cov3d "$@"\n')
        cov3d.chmod(0o755)

    def submit(self, script: str, *words: object, options: tuple[str, ...] = ()) -> str:
        """Submit a script of the examples; its options, but for the size of this machine, are as they stand."""
        small = ("--cpus-per-task=2", "--mem=4G", "--output=%A.out", "--open-mode=append", *options)
        given = {"DATA": str(self.data), "SIZE": "tiny"}
        return slurm.submit(SCRIPTS / script, words, small, self.folder, self.bin, **given)

    def output(self, job: str) -> str:
        """What a job, or the tasks of an array, have printed."""
        file = self.folder / f"{job.partition('_')[0]}.out"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def cluster(tmp_path: Path, cov3d: Command) -> Cluster:
    made = Cluster(tmp_path)
    assert cov3d("phantom", made.data, "--scans", 20, "--resolution", 64).code == 0
    assert cov3d("folds", "--data", made.data).code == 0
    return made


def epochs(folder: Path) -> list[int]:
    file = folder / "history.csv"
    return list(pd.read_csv(file)["epoch"]) if file.exists() else []


def test_the_plain_scripts_end_as_if_nothing_had_happened(cluster: Cluster, cov3d: Command) -> None:
    shares = cluster.submit("preprocess.sh", options=("--array=1-2", "--cpus-per-task=1"))
    crops = cluster.submit("crops.sh", options=(f"--dependency=afterok:{shares}",))
    slurm.wait_for_end(f"{shares}_1", f"{shares}_2", crops)
    assert slurm.state(crops) == slurm.COMPLETED
    assert (cluster.data / "preprocessed" / "tiny" / "report" / "crops.html").exists()

    limit = ("--array=0-1", "--time=2", "--signal=TERM@30")
    folds = cluster.submit("crossval.sh", *TRAINING, options=limit)
    first, second = f"{folds}_0", f"{folds}_1"
    names = {fold: f"resnet_tiny_epochs-{EPOCHS}_pretrained-False_fold-{fold}_seed-0" for fold in (0, 1)}
    runs = {fold: cluster.data / "runs" / name for fold, name in names.items()}
    slurm.wait(lambda: len(epochs(runs[0])) > 0)

    slurm.node("down")  # Slurm kills the job of a node that is lost, and puts it into the queue again
    slurm.wait(lambda: slurm.state(first) == slurm.PENDING)
    slurm.node("resume")
    slurm.begin_now(first)
    slurm.wait(lambda: slurm.state(first) == slurm.RUNNING)  # the second task may have been faster
    assert slurm.fact(first, "Restarts") == "1"

    slurm.node("drain")  # a job that runs goes on, the next one waits
    waiting = cluster.submit("collect.sh", *TRAINING)
    slurm.wait(lambda: slurm.state(first) not in (slurm.RUNNING, "COMPLETING"))
    assert slurm.state(waiting) == slurm.PENDING
    slurm.node("resume")

    limits = 0
    for job, run in ((first, runs[0]), (second, runs[1])):
        slurm.wait_for_end(job)
        while slurm.state(job) != slurm.COMPLETED:
            assert slurm.fact(job, "ExitCode") == "130:0", cluster.output(job)
            limits += 1
            assert limits < 20, "this machine finishes no epoch within the time limit"
            slurm.requeue(job)
            slurm.wait_for_end(job)
        assert epochs(run) == list(range(1, EPOCHS + 1))
    assert limits > 0, "this machine finishes all epochs within the time limit"

    unbroken = cluster.folder / "unbroken"
    ended = cov3d("crossval", "--data", cluster.data, "--runs", unbroken, "--fold", 0, *TRAINING)
    assert ended.code == 0, ended.err
    for name in ("validation-presence.csv", "presence.safetensors"):
        assert (unbroken / runs[0].name / name).read_bytes() == (runs[0] / name).read_bytes(), name

    collect = cluster.submit("collect.sh", *TRAINING)
    slurm.wait_for_end(collect)
    assert slurm.fact(collect, "ExitCode") == "2:0"
    assert "folds 2, 3, 4" in cluster.output(collect)
    assert not list(cluster.data.glob("runs/*fold-2*"))  # collecting trains nothing
    sets = cluster.folder / "sets.json"
    sets.write_text(f'[{{"task": "presence", "number": 1, "members": ["{runs[0]}/presence.safetensors"]}}]')
    submit = cluster.submit("submit.sh", "--set", sets)
    slurm.wait_for_end(submit)
    assert slurm.state(submit) == slurm.COMPLETED, cluster.output(submit)
    assert (cluster.folder / "submissions" / "presence" / "1" / "covid.csv").exists()
    shutil.rmtree(cluster.data)


KILLS = 5


def test_the_workflow_is_killed_again_and_again_and_does_nothing_twice(cluster: Cluster) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs pip install snakemake-executor-plugin-slurm")
    small = ("preprocess=1", "train=2", "submit=2", "--set-resources", "train:mem_mb=4000", "submit:mem_mb=4000")
    words = (
        *("--snakefile", ROOT / "workflow" / "Snakefile", "--configfile", ROOT / "workflow" / "config" / "trial.yaml"),
        *("--workflow-profile", ROOT / "workflow" / "profiles" / "slurm", "--slurm-status-command", "squeue"),
        *("--latency-wait", 5, "--seconds-between-status-checks", 2, "--set-threads", *small),
    )
    command = [sys.executable, "-m", "snakemake", *map(str, words)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{cluster.bin}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(cluster.folder / "cache"),
    }
    log = cluster.folder / "snakemake.log"

    def start(*more: str) -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            return subprocess.Popen(
                [*command, *more], cwd=cluster.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def done() -> dict[str, int]:
        states = cluster.data / "workflow"
        return {str(file.relative_to(states)): file.stat().st_mtime_ns for file in states.rglob("*.done")}

    before: dict[str, int] = {}
    for kill in range(KILLS):
        process = start()
        time.sleep(20 + 12 * kill)
        assert process.poll() is None, log.read_text()
        process.kill()
        process.wait()
        slurm.call("scancel", "--user", os.environ.get("USER", "root"))
        slurm.wait(lambda: not slurm.call("squeue", "-h"))
        assert start("--unlock").wait() == 0, log.read_text()
        assert {name: changed for name, changed in done().items() if name in before} == before
        before = done()
    assert start().wait() == 0, log.read_text()
    assert len(done()) == 2 + 1 + 4 + 1 + 1 + 1  # preprocess, crops, train, submit, check, report
    assert {name: changed for name, changed in done().items() if name in before} == before
    results = ("report/report.html", "submissions/presence/1/covid.csv", "submissions/severity/1/mild.csv")
    assert all((cluster.data / name).exists() for name in results)
