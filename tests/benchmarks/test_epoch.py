"""The benchmarks of an epoch and of a prediction, with a network of two layers: that all is measured."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import sphere_chest
from tests.training.conftest import quick_network  # noqa: F401  the fixture

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def quick_phantoms(monkeypatch: pytest.MonkeyPatch, quick_network: None) -> None:  # noqa: F811
    """Phantoms that take no time, all alike."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import measures

    monkeypatch.setattr(measures, "make_scan", lambda *_, **__: SimpleNamespace(voxels=sphere_chest()))


def test_the_parts_of_an_epoch_add_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import epoch

    words = ["--device", "cpu", "--scans", "4", "3", "--rounds", "2", "--workers", "0"]
    monkeypatch.setattr(sys, "argv", ["epoch.py", *words, "--output", str(tmp_path / "table.md")])
    epoch.main()
    lines = (tmp_path / "table.md").read_text().splitlines()[2:]
    columns, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [row["what"] for row in table] == ["train", "bare PyTorch", "paper"]
    for row in table:
        total = float(row["seconds an epoch"])
        parts = [float(row[part]) for part in ("training", "validation", "checkpoints", "the rest")]
        assert sum(parts) == pytest.approx(total, rel=0.25)
        assert 0 < float(row["loading"]) < float(row["training"]) + float(row["validation"])
        assert float(row["checkpoints"]) > 0


def test_a_store_is_predicted_beside_a_bare_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import infer

    words = ["--device", "cpu", "--store", "--size", "tiny", "--scans", "3", "--rounds", "1", "--precision", "fp32"]
    monkeypatch.setattr(sys, "argv", ["infer.py", *words, "--batch-size", "1", "2"])
    infer.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if "tiny" in line]
    assert len(rows) == 2
    for row in rows:
        mine, its = (float(cell) for cell in row.strip("│ ").split("│")[3:5])
        assert mine > 0
        assert its > 0
