"""A store with a few scans, for reports to be made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.grid import Grid
from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.preview import preview
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from tests.records import GOOD

Fill = Callable[[dict[str, dict[str, Any]]], Store]


def picture(grey: int) -> bytes:
    """A preview of nothing but one grey, its box in the middle."""
    lungs = np.zeros((4, 8, 8), dtype=bool)
    grid = Grid(np.zeros(lungs.shape, np.float32), (1, 1, 1), (0, 0, 0), 4)
    segmentation = Segmentation(grid, lungs, ~lungs, gas=25.0, noise=1.0, opacity=0.0, left_share=0.5)
    return preview(np.full(lungs.shape, grey, np.uint8), segmentation, Box(1, 3, 2, 6, 2, 6))


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Make a store of scans whose records are good but for what is given; `preview=False` leaves out the picture."""

    def make(scans: dict[str, dict[str, Any]]) -> Store:
        store = Store.create(tmp_path / "store", Size.TINY)
        for number, (scan, record) in enumerate(scans.items()):
            pictured = record.pop("preview", True)
            for folder, suffix, content in (
                ("records", ".json", json.dumps({"scan": scan, **GOOD, **record}).encode()),
                ("previews", ".webp", picture(40 + 20 * (number % 10)) if pictured else None),
            ):
                file = store.folder / folder / f"{scan}{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                if content is not None:
                    file.write_bytes(content)
        return store

    return make
