"""What the tests share: a tiny synthetic dataset, the command line in this process, real CT where it is at hand."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.server import FakeServer

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers have the processors between them

REAL_CT = Path(os.environ.get("COV3D_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cov3d(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command line in this process, as the console script would."""
    from cov3d.app import main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cov3d", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    """The server in torchvision's place, and a torch cache and an environment that know no weights."""
    from cov3d.models import weights

    fake = FakeServer()
    monkeypatch.setattr(weights, "source", fake.source)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("COV3D_WEIGHTS_DIR", raising=False)
    monkeypatch.delenv("TORCH_HUB", raising=False)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    yield fake
    fake.close()


@pytest.fixture
def real_ct() -> Path:
    """The folder of real CT; the test is skipped where there is none."""
    if not REAL_CT.is_dir():
        pytest.skip("no real CT here: point COV3D_TEST_DATA at a folder of it")
    return REAL_CT


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the modules of `benchmarks/` importable."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


def write_slices(folder: Path, voxels: NDArray[np.uint8], first: int = 1) -> None:
    """Write a volume as JPEG slices `<n>.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(voxels, start=first):
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=95)


def sphere_chest(depth: int = 24, side: int = 96) -> NDArray[np.uint8]:
    """The simplest chest: an ellipse of tissue in air, and in it two ellipsoids of lung."""
    z, y, x = np.mgrid[:depth, :side, :side]
    z, y, x = (2 * z / (depth - 1) - 1, 2 * y / (side - 1) - 1, 2 * x / (side - 1) - 1)
    voxels = np.full((depth, side, side), 25, dtype=np.uint8)
    voxels[(x / 0.9) ** 2 + (y / 0.7) ** 2 < 1] = 200
    for centre in (-0.42, 0.42):
        lung = ((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 + (z / 0.7) ** 2 < 1
        voxels[lung] = 55
    return voxels
