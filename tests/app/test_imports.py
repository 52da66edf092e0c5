"""Commands that compute little load little: each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reports.runs import scan_table, write_run

COUNTS = {("validation", label, 0): 3 for label in ("non-covid", "mild", "severe", "covid")}
CODE = """
import json, sys
from cov3d.app import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted({"torch", "torchvision", "fastai", "sklearn", "scipy", "matplotlib"} & set(sys.modules))))
"""


def loaded(*words: object) -> set[str]:
    """The heavy packages that a command loads."""
    ended = subprocess.run([sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of other options on one fold."""
    scans = scan_table(COUNTS | {("train", "non-covid", 1): 2, ("train", "mild", 2): 2})
    scans.to_csv(tmp_path / "scans.csv", index=False)
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"run-{seed}", scans, seed=seed, gamma=float(seed), epochs=3)
    return sorted((tmp_path / "runs").iterdir())


def test_folds_loads_none_to_print_a_table(tmp_path: Path) -> None:
    for number in (1, 2):
        scan = tmp_path / "train" / "covid" / f"ct_scan_{number}"
        scan.mkdir(parents=True)
        for slice_number in (1, 2):
            (scan / f"{slice_number}.jpg").write_bytes(b"")
    assert loaded("folds", "--data", tmp_path) == set()
    assert (tmp_path / "scans.csv").is_file()


def test_ensemble_averages_tables_without_torch(runs: list[Path], tmp_path: Path) -> None:
    tables = [run / "validation-presence.csv" for run in runs]
    assert not loaded("ensemble", *tables, "--output-dir", tmp_path / "a") & {"torch", "torchvision", "fastai"}
    unlabelled = []
    for number, file in enumerate(tables):
        lines = [line.rsplit(",", 1)[0] for line in file.read_text().splitlines()]
        unlabelled.append(tmp_path / f"{number}.csv")
        unlabelled[-1].write_text("\n".join(lines) + "\n")
    assert loaded("ensemble", *unlabelled, "--output-dir", tmp_path / "b") == set()
    assert (tmp_path / "b" / "predictions.csv").is_file()


def test_report_and_compare_read_runs_without_torch(runs: list[Path], tmp_path: Path) -> None:
    heavy = {"torch", "torchvision", "fastai"}
    assert not loaded("report", "--data", tmp_path) & heavy
    assert not loaded("compare", *runs) & heavy
    assert (tmp_path / "report" / "report.html").is_file()
