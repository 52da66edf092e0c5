"""A store of scans that a network can learn from in a step: positive ones are brighter."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cov3d.models.registry import REGISTRY
from cov3d.preprocessing.pipeline import Preprocessed
from cov3d.preprocessing.record import ScanRecord
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from tests.records import GOOD


def fill(folder: Path, labels: Sequence[str], folds: Sequence[int]) -> tuple[Store, pd.DataFrame]:
    """A store at size tiny and its scan table, a scan for each label."""
    rng = np.random.default_rng(0)
    store = Store.create(folder, Size.TINY)
    rows = []
    for number, (label, fold) in enumerate(zip(labels, folds, strict=True)):
        scan = f"train/x/scan_{number}"
        voxels = rng.integers(0, 80, Size.TINY.shape, dtype=np.uint8) + np.uint8(0 if label == "non-covid" else 120)
        record = ScanRecord(**GOOD | {"lung_share": 0.1 + 0.01 * number})
        store.write(scan, Preprocessed({Size.TINY: voxels}, record))
        rows.append((scan, "train", label, fold))
    table = pd.DataFrame(rows, columns=["scan", "partition", "label", "fold"]).astype({"fold": "Int64"})
    return store, table


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, pd.DataFrame]:
    """Every label once in fold 1, to train on, and three scans in fold 0."""
    labels = ["non-covid", "mild", "moderate", "severe", "critical", "covid", "non-covid", "mild", "covid"]
    return fill(tmp_path_factory.mktemp("store"), labels, [1] * 6 + [0] * 3)


class SmallNetwork(torch.nn.Sequential):
    """A network of two layers, for tests of what is around it."""

    def __init__(self, outputs: int, dropout: float = 0.0, kinetics: object = None) -> None:
        super().__init__(torch.nn.AvgPool3d(8), torch.nn.Flatten(), torch.nn.Dropout(dropout))
        self.head = torch.nn.Linear(4 * 8 * 8, outputs)


@pytest.fixture
def quick_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network in place of every other."""
    for architecture, entry in REGISTRY.items():
        monkeypatch.setitem(REGISTRY, architecture, replace(entry, build=SmallNetwork, map_source=None))
