"""A full disk, for every kind of file: one sentence that names the file and the cause, and nothing half written.

A limit on the size of files stands in for the disk: the system refuses a write in the same way, at a known byte.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from cov3d.models import registry
from cov3d.training import checkpoint, resume
from tests.conftest import sphere_chest, write_slices
from tests.training.test_checkpoint import INFO

CAUSE = "can't be written: File too large"


def limited(most: int, *words: object) -> subprocess.CompletedProcess[str]:
    """A command that can write no file of more than `most` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "cov3d", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )


@pytest.fixture
def small_files():
    """Limits the files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("most", [0, 100, 5_000, 1_000_000, 4_000_500])
def test_a_resume_state_names_its_file_and_keeps_the_one_before(small_files, most: int, tmp_path: Path) -> None:
    state = resume.ResumeState({}, {}, 1, {"a": torch.zeros(1000, 1000)}, {}, {}, [{"epoch": 1}], {}, torch.zeros(1, 5))
    resume.save(tmp_path, state)
    small_files(most)
    with pytest.raises(resume.OutputError) as refused:
        resume.save(tmp_path, state)
    small_files(-1)
    assert str(refused.value) == f"{tmp_path / 'last.pt'} {CAUSE}"
    assert names(tmp_path) == ["last.pt"]
    assert resume.load(tmp_path).epoch == 1


def test_a_checkpoint_names_its_file(small_files, tmp_path: Path) -> None:
    network = registry.build(INFO.architecture, outputs=len(INFO.categories), **INFO.model)
    small_files(100_000)
    with pytest.raises(checkpoint.CheckpointError.__mro__[1], match=f"a.safetensors {CAUSE}"):
        checkpoint.save(tmp_path / "a.safetensors", network, INFO)
    small_files(-1)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("layout", "most", "file"),
    [
        ("cov19ctdb", 50, "phantom.json can't be written"),
        ("cov19ctdb", 1_000, "ICASSP_severity_train_partition.xlsx can't be written"),
        ("stoic", 3_000, "data/mha/1.mha can't be written"),
        ("mosmed", 3_000, "study_0001.nii.gz can't be written"),
    ],
)
def test_a_phantom_names_its_file(layout: str, most: int, file: str, tmp_path: Path) -> None:
    ended = limited(most, "phantom", tmp_path / "p", "--scans", 12, "--resolution", 64, "--layout", layout, "--jobs", 1)
    assert ended.returncode == 2
    assert file in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not any(name.endswith((".nii.gz", ".mha", ".xlsx")) for name in names(tmp_path) if ".writing" not in name)


@pytest.mark.parametrize(
    ("most", "file"),
    [(20, "scans.csv"), (100, "scans.origin.json"), (2_000, "scan.diff.npy.zst")],
)
def test_preprocessing_names_its_file(most: int, file: str, tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", sphere_chest())
    ended = limited(most, "preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"error: {tmp_path}")
    assert f"{file} {CAUSE}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.rglob("*.part"))


def test_a_store_names_its_settings(tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", sphere_chest())
    (tmp_path / "scans.csv").write_text("scan,partition,label,fold\nscan,test,,\n")
    ended = limited(100, "preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1)
    assert ended.returncode == 2
    assert f"settings.json {CAUSE}" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(("most", "file"), [(100, ".md"), (20_000, ".png")])
def test_a_report_names_its_file(most: int, file: str, tmp_path: Path) -> None:
    rows = [(f"train/covid/{number}", "train", label, number % 5) for number in range(20) for label in ("mild",)]
    pd.DataFrame(rows, columns=["scan", "partition", "label", "fold"]).to_csv(tmp_path / "scans.csv", index=False)
    ended = limited(most, "report", "--data", tmp_path)
    assert ended.returncode == 2
    assert f"{file} {CAUSE}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
