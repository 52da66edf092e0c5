"""Several processes with gloo on a CPU, started by torchrun: exact scores, the same training, resumed like one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from cov3d.inference.networks import load_members
from cov3d.inference.predict import predict_store
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training.callbacks import EpochSeeds
from cov3d.training.distributed import World, share
from cov3d.training.learner import train
from cov3d.training.loaders import EpochShuffle, Fold
from tests.training.conftest import fill
from tests.training.in_several_processes import CPU, PLAIN

LABELS = ["non-covid", "mild", "covid", "severe", "critical", "non-covid", "moderate", "covid", "mild", "non-covid"]
SIZES = (1, 2, 3, 5, 7, 10)


def torchrun(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=300,
    )


def worker(root: Path, what: str) -> "subprocess.CompletedProcess[str]":
    return torchrun("-m", "tests.training.in_several_processes", root, what)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, its table, and the runs that two processes made on validation sets of several sizes."""
    root = tmp_path_factory.mktemp("two")
    _, table = fill(root / "store", [*LABELS, "non-covid", "mild", "severe", "covid", "non-covid"], [0] * 10 + [1] * 5)
    table.to_csv(root / "scans.csv", index=False)
    ended = worker(root, "sizes")
    assert ended.returncode == 0, ended.stderr[-3000:]
    return root


def validation_of(root: Path, count: int) -> pd.DataFrame:
    table = pd.read_csv(root / "scans.csv")
    return table.loc[table["fold"] == 0, ["scan", "label"]].head(count)


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("count", SIZES)
def test_macro_f1_of_two_processes_is_scikit_learns_on_all_scans(root: Path, count: int) -> None:
    folder, scans = root / f"validated-{count}", validation_of(root, count)
    history = pd.read_csv(folder / "history.csv")
    summary_epoch = int(history["presence_f1"].to_numpy().argmax())
    # The network of the best epoch, on every scan, in this one process.
    (member,) = load_members([folder / "presence.safetensors"], CPU)
    probabilities = predict_store(member, scans, Store.open(root / "store", Size.TINY), device=CPU)
    positive = (scans["label"] != "non-covid").to_numpy()
    wanted = f1_score(positive, probabilities[:, 0] < 0.5, labels=[False, True], average="macro", zero_division=0)
    assert history["presence_f1"][summary_epoch] == pytest.approx(wanted)
    saved = pd.read_csv(folder / "validation-presence.csv")
    assert saved["scan"].tolist() == scans["scan"].tolist()
    assert saved.filter(like="p_").to_numpy() == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.usefixtures("quick_network")
def test_two_processes_train_as_one_with_twice_the_batch(root: Path, tmp_path: Path) -> None:
    table = pd.read_csv(root / "scans.csv")
    # Five scans for two processes: the first comes twice, and so it does here.
    training = table.loc[table["fold"] == 1, ["scan", "label"]].reset_index(drop=True)
    fold = Fold(training, validation_of(root, 10))
    doubled = replace(PLAIN, batch_size=2)

    class Padded(EpochShuffle):
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[int]:
            order = list(super().__iter__())
            return iter([*order[:5], order[0]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cov3d.training.assemble.EpochShuffle", Padded)
        alone = train(doubled, fold, Store.open(root / "store", Size.TINY), tmp_path / "alone", device=CPU)
    state = torch.load(root / "validated-10" / "last.pt", weights_only=True)["model"]
    for name, tensor in alone.model.state_dict().items():
        assert torch.allclose(state[name], tensor, atol=1e-5), name


def test_two_processes_killed_and_resumed_end_as_the_unbroken_two(root: Path) -> None:
    killed = worker(root, "killed")
    assert killed.returncode != 0
    assert not (root / "interrupted" / "summary.json").exists()
    assert torch.load(root / "interrupted" / "last.pt", weights_only=True)["epoch"] < 3
    resumed = worker(root, "resumed")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    for name in ("history.csv", "presence.safetensors", "severity.safetensors", "validation-presence.csv"):
        assert (root / "interrupted" / name).read_bytes() == (root / "unbroken" / name).read_bytes(), name


def test_the_command_line_speaks_once_and_fails_once(root: Path, tmp_path: Path) -> None:
    (tmp_path / "preprocessed").mkdir()
    (tmp_path / "preprocessed" / "tiny").symlink_to(root / "store")
    (tmp_path / "scans.csv").write_text((root / "scans.csv").read_text())
    words = ["-m", "cov3d", "train", "--data", tmp_path, "--size", "tiny", "--no-pretrained", "--epochs", 1]
    ended = torchrun(*words, "--device", "cpu", "--output-dir", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("training on 5 scans, validating on 10 (fold 0), on 2 × cpu") == 1
    assert (tmp_path / "run" / "curves.png").exists()
    again = torchrun(*words, "--device", "cpu", "--output-dir", tmp_path / "run")
    assert again.returncode != 0
    assert again.stderr.count("already holds a run: give another --output-dir, or --overwrite") == 1
    assert "cov3d/training/learner.py" not in again.stderr  # no traceback through our code


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_every_process_takes_as_many_steps_and_together_they_see_every_scan(count: int, size: int, seed: int) -> None:
    shares = [list(EpochShuffle(count, seed, World(rank=rank, size=size))) for rank in range(size)]
    assert len({len(part) for part in shares}) == 1
    together = [part[step] for step in range(len(shares[0])) for part in shares]
    assert together[:count] == list(EpochShuffle(count, seed))
    assert len(together) - count < size


@given(st.integers(0, 40), st.integers(1, 6))
def test_validation_scans_are_split_without_repeats(count: int, size: int) -> None:
    dealt = [item for rank in range(size) for item in share(count, World(rank=rank, size=size))]
    assert sorted(dealt) == list(range(count))


def test_processes_and_epochs_draw_from_seeds_of_their_own() -> None:
    class Learn:
        epoch = 0

    def drawn(seed: int, rank: int, epoch: int) -> tuple[float, ...]:
        chance = EpochSeeds(seed, rank)
        chance.learn = Learn()
        chance.learn.epoch = epoch
        chance.before_train()
        return (torch.rand(1).item(), torch.rand(1, generator=chance.augmentation).item(), float(np.random.rand()))  # noqa: NPY002

    draws = [drawn(seed, rank, epoch) for seed in (0, 1) for rank in (0, 1) for epoch in (0, 1)]
    assert len(set(draws)) == len(draws)
    assert drawn(1, 1, 1) == draws[-1]
