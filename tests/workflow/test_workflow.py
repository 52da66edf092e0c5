"""The Snakemake workflow: its jobs for the full paper and for parts of it, counted by hand, and a trial on phantoms."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.conftest import Command

pytest.importorskip("snakemake", reason="needs pip install 'cov3d[workflow]'")

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *words: object) -> str:
    """What Snakemake prints; `folder` is its working directory."""
    (folder / "bin").mkdir(exist_ok=True)
    cov3d = folder / "bin" / "cov3d"
    cov3d.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cov3d "$@"\n')
    cov3d.chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile"), "--cores", "2"]
    ended = subprocess.run(
        [*command, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def jobs(printed: str) -> dict[str, int]:
    """The number of jobs by rule, as a dry run ends with."""
    table = printed.rpartition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def test_a_dry_run_of_the_paper_lists_every_job_with_its_gpu_time_and_disk(tmp_path: Path) -> None:
    printed = snakemake(tmp_path, "--dry-run")
    assert jobs(printed) == {
        "folds": 1,
        "folds_of_stoic": 1,
        "preprocess": 8 * (3 + 2),  # shares of small, medium and large, and of STOIC at medium and large
        "crops": 3 + 2,
        "pretrain": 4,  # ResNets at medium and large, each with dropout 0.2 and 0.5
        "train": 22 * 5,
        "crossval": 22,
        "ensemble": 8,
        "submit": 1,
        "check": 1,
        "report": 1,
        "all": 1,
    }
    assert "22 experiments, 110 runs and 4 on STOIC: about " in printed
    assert "GPU hours" in printed
    # Experiment 6: 50 epochs of 1,000 steps of 101 ms, and a sixth more for validation.
    wanted = round(50 * 1000 * 0.101 * 7 / 6 / 60)
    resources = re.search(r"train/6-0\.done\n.*?resources: ([^\n]*)", printed, re.DOTALL)
    assert resources is not None
    assert f"gpu_minutes={wanted}" in resources[1]
    assert "disk_mb=653" in resources[1]


def test_a_part_of_the_paper_is_what_the_configuration_says(tmp_path: Path) -> None:
    printed = snakemake(
        tmp_path, "--dry-run", "--config", "experiments=[6, 16]", "folds=[0]", "ensembles=[]", "submissions="
    )
    assert jobs(printed) == {
        **{"folds": 1, "preprocess": 8 * 2, "crops": 2, "train": 2},
        **{"sets": 1, "submit": 1, "check": 1, "report": 1, "all": 1},
    }


def test_the_papers_submissions_of_one_experiment_bring_the_runs_that_they_need(tmp_path: Path) -> None:
    printed = snakemake(tmp_path, "--dry-run", "--config", "experiments=[6]", "folds=[0]", "ensembles=[]")
    # Fold 0 of experiment 6. All folds of 1, 4 and 13, and with EP3 of 2 and 3; of 16 and 18 fold 0 (section 6).
    found = jobs(printed)
    assert found["train"] == 1 + 5 * 5 + 2
    assert found["pretrain"] == 2  # ResNets with dropout 0.2 at medium (1 to 4) and large (13)
    assert "crossval" not in found


def test_without_submissions_nothing_is_predicted(tmp_path: Path) -> None:
    printed = snakemake(tmp_path, "--dry-run", "--config", "experiments=[6]", "ensembles=[]", "submissions=none")
    assert jobs(printed) == {
        **{"folds": 1, "preprocess": 8, "crops": 1, "train": 5, "crossval": 1, "report": 1, "all": 1},
    }


@pytest.mark.slow
def test_two_experiments_on_two_folds_of_phantoms_end_in_a_report(tmp_path: Path, cov3d: Command) -> None:
    assert cov3d("phantom", tmp_path / "DATA", "--scans", 30, "--resolution", 64).code == 0
    trial = ("--configfile", ROOT / "workflow" / "config" / "trial.yaml", "--resources", "gpu=1")
    first = snakemake(tmp_path, *trial)
    assert first.count("Rule: train)") == 4
    results = ("report/report.html", "submissions/presence/1/covid.csv", "submissions/severity/1/mild.csv")
    assert all((tmp_path / "DATA" / name).exists() for name in results)
    assert "Nothing to be done" in snakemake(tmp_path, *trial)
    # A run whose job was killed before it could say that it was done is not trained again.
    (tmp_path / "DATA" / "workflow" / "train" / "6-0.done").unlink()
    shutil.rmtree(tmp_path / "DATA" / "report")
    again = snakemake(tmp_path, *trial)
    assert "is finished" in again
    assert "epoch 1/1" not in again
    assert (tmp_path / "DATA" / "report" / "report.html").exists()
