"""Every command that reads the scan table warns where it does not fit the dataset, or fails with --strict."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cov3d.inference import networks
from cov3d.inference.networks import Member
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from tests.conftest import Ended, write_slices
from tests.datasets.test_folds import write_severities
from tests.training.test_checkpoint import INFO

Command = Callable[..., Ended]
TRAINING = ("--size", "tiny", "--no-pretrained", "--device", "cpu")
COMMANDS = {
    "preprocess": ("--size", "tiny", "--jobs", 1, "--no-report"),
    "preprocess --only-report": ("--size", "tiny"),
    "train": TRAINING,
    "crossval": TRAINING,
    "tune": (*TRAINING, "--trials", 1),
    "validate": ("--checkpoint", "best.safetensors", "--device", "cpu"),
    "report": (),
}


@pytest.fixture
def data(tmp_path: Path, cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with its table, of which a grade was corrected and a scan was added; its store is empty."""
    root = tmp_path / "data"
    for number in range(5):
        write_slices(root / "train" / "covid" / f"a{number}", np.zeros((2, 8, 8), np.uint8))
        write_slices(root / "train" / "non-covid" / f"b{number}", np.zeros((2, 8, 8), np.uint8))
    write_severities(root, "train", [(f"a{number}", 1) for number in range(5)])
    assert cov3d("folds", "--data", root).code == 0
    Store.create(root / "preprocessed" / "tiny", Size.TINY)
    member = Member(torch.nn.Identity(), INFO.__class__(**{**vars(INFO), "fold": 1}))
    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: [member])
    write_severities(root, "train", [("a0", 3), *((f"a{number}", 1) for number in range(1, 5))])
    write_slices(root / "train" / "non-covid" / "new", np.zeros((2, 8, 8), np.uint8))
    return root


def differs(root: Path) -> str:
    return (
        f"{root / 'scans.csv'} does not fit the dataset any more: 1 scan new (train/non-covid/new), 1 scan with "
        f"another label (train/covid/a0: mild, now severe). Make it again: cov3d folds --data {root} --overwrite"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_that_went_stale_is_warned_of_and_strict_makes_it_an_error(
    cov3d: Command, data: Path, command: str
) -> None:
    before = (data / "scans.csv").read_bytes()
    words = [*command.split(), "--data", data, *COMMANDS[command]]
    ended = cov3d(*words, "--strict")
    assert (ended.code, ended.err.strip().splitlines()[-1]) == (2, f"error: {differs(data)}")
    assert f"warning: {differs(data)}" in cov3d(*words).err
    assert (data / "scans.csv").read_bytes() == before


@pytest.mark.parametrize("command", ["train", "report"])
def test_a_table_made_again_is_not_warned_of(cov3d: Command, data: Path, command: str) -> None:
    ended = cov3d("folds", "--data", data, "--overwrite")
    assert ended.code == 0
    moved = [line for line in ended.out.splitlines() if line.startswith("compared with the table before: ")]
    assert len(moved) == 1
    assert "1 scan new (train/non-covid/new), 1 scan with another label (train/covid/a0: mild, now severe)" in moved[0]
    assert "does not fit" not in cov3d(command, "--data", data, *COMMANDS[command], "--strict").err


def test_folds_says_how_many_scans_moved(cov3d: Command, data: Path) -> None:
    before = pd.read_csv(data / "scans.csv").set_index("scan")["fold"]
    ended = cov3d("folds", "--data", data, "--overwrite", "--seed", 1)
    after = pd.read_csv(data / "scans.csv").set_index("scan")["fold"]
    moved = sum(before[scan] != after[scan] for scan in before.index)
    assert moved > 0
    assert f"compared with the table before: {moved} of 10 scans moved to another fold (" in ended.out
    (data / "scans.csv").write_text("no table\n")
    ended = cov3d("folds", "--data", data, "--overwrite")
    assert ended.code == 0
    assert "compared with the table before: unknown, " in ended.out


def test_a_table_elsewhere_has_its_origin_beside_it(cov3d: Command, data: Path, tmp_path: Path) -> None:
    table = tmp_path / "tables" / "mine.csv"
    assert cov3d("folds", "--data", data, "--table", table, "--seed", 5).code == 0
    assert table.with_name("mine.origin.json").is_file()
    write_severities(data, "train", [(f"a{number}", 1) for number in range(5)])
    ended = cov3d("train", "--data", data, "--table", table, "--strict", *TRAINING)
    assert ended.code == 2
    assert f"cov3d folds --data {data} --table {table} --seed 5 --overwrite" in ended.err
