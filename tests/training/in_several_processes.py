"""What `test_distributed` starts with torchrun: runs of a small network, in a folder with a store and a table."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from cov3d.models.registry import REGISTRY
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training.distributed import joined, launched
from cov3d.training.learner import train
from cov3d.training.loaders import Fold
from cov3d.training.options import TrainingOptions
from tests.training.conftest import SmallNetwork

PLAIN = TrainingOptions(
    size=Size.TINY, epochs=2, batch_size=1, learning_rate=3e-3, dropout=0.0, reflect=False, brightness=0.0, contrast=0.0
)
RESUMED = replace(PLAIN, epochs=3, dropout=0.4, reflect=True, brightness=0.1)
CPU = torch.device("cpu")


def main(root: Path, what: str) -> None:
    for architecture, entry in REGISTRY.items():
        REGISTRY[architecture] = replace(entry, build=SmallNetwork, map_source=None)
    store = Store.open(root / "store", Size.TINY)
    table = pd.read_csv(root / "scans.csv")
    training, validation = (table.loc[table["fold"] == fold, ["scan", "label"]] for fold in (1, 0))
    world = launched()
    with joined(world, CPU):
        for name, fold, options in runs(what, training, validation):
            if what == "killed" and world.is_first:
                _killed_at_write(9)
            train(options, fold, store, root / name, device=CPU, world=world, continues=what == "resumed")


def runs(what: str, training: pd.DataFrame, validation: pd.DataFrame) -> list[tuple[str, Fold, TrainingOptions]]:
    if what == "sizes":
        sized = [(f"validated-{n}", Fold(training, validation.head(n)), PLAIN) for n in (1, 2, 3, 5, 7, 10)]
        return [*sized, ("unbroken", Fold(training, validation), RESUMED)]
    return [("interrupted", Fold(training, validation), RESUMED)]


def _killed_at_write(number: int) -> None:
    writes = 0
    original = Path.replace

    def counting(path: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(path, target)

    Path.replace = counting  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
