"""The benchmark of a training step, with a network of two layers: that all is measured, not how fast it is."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import sphere_chest
from tests.training.conftest import quick_network  # noqa: F401  the fixture

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture(autouse=True)
def quick_phantoms(importable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms that take no time, all alike."""
    import measures

    monkeypatch.setattr(measures, "make_scan", lambda *_, **__: SimpleNamespace(voxels=sphere_chest()))


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    import train_step

    monkeypatch.setattr(sys, "argv", ["train_step.py", "--device", "cpu", *map(str, words)])
    train_step.main()


@pytest.mark.usefixtures("quick_network")
def test_every_way_to_take_a_step_has_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table, profile = tmp_path / "table.csv", tmp_path / "profile.txt"
    several = ["--batch-size", 1, "--steps", 2, "--rounds", 2, "--loss-copy", "--deterministic", "yes", "no"]
    run(monkeypatch, *several, "--output", table, "--profile", profile)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["what"], row["how"]) for row in rows] == [
        ("train", "fp32, deterministic"),
        ("bare PyTorch", "fp32, deterministic"),
        ("paper", "fp32"),
        ("train, fastai's recorder", "fp32, deterministic"),
        ("train, loss not watched", "fp32, deterministic"),
        ("train", "fp32"),
        ("operations", "of a step"),
        ("matrix product, 1024 square", "fp32"),
        ("train, loop alone", "one layer"),
        ("bare PyTorch, loop alone", "one layer"),
        ("loader alone", "no workers"),
    ]
    contenders = rows[:6]
    assert all(float(row["over bare"]) > 0 and float(row["paper over it"]) > 0 for row in contenders)
    assert (contenders[1]["over bare"], contenders[2]["paper over it"]) == ("1.000", "1.00")
    assert sorted(row["remark"] for row in contenders if row["what"] == "train") == ["", "fastest"]
    assert "times what the fastest train needs" in rows[-1]["remark"]
    assert "aten::" in profile.read_text()
    shown = capsys.readouterr().out
    assert all(row["what"] in shown for row in rows)


def test_a_table_for_the_docs_says_how_it_was_made_and_names_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import train_step

    given = ["--size", "small", "medium", "--steps", "4", "--output", str(tmp_path / "table.md")]
    monkeypatch.setattr(sys, "argv", ["train_step.py", *given])
    options = train_step.arguments()
    head, ran = train_step.title(options, torch.device("cpu")), train_step.command(options)
    text = train_step.as_text([{"network": "resnet", "size": "small", "what": "train"}], head, ran, ".md")
    assert f"torch {torch.__version__}; batch of 2, 7 rounds of 4:\n" in text
    assert "    python benchmarks/train_step.py --size small medium --steps 4\n" in text
    assert text.endswith("| resnet | small | train |" + "  |" * (len(train_step.COLUMNS) - 3) + "\n")


def test_the_steps_compared_are_the_same_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without chance, a step of `train` and of the bare loop lead from the same weights to the same weights."""
    from contenders import Bare, Train
    from measures import make_job, phantoms

    from cov3d.preprocessing.sizes import Size
    from cov3d.training.options import Compute, TrainingOptions

    options = TrainingOptions(size=Size.TINY, batch_size=1, dropout=0.0, reflect=False, brightness=0.0, contrast=0.0)
    job = make_job(options, phantoms(tmp_path, Size.TINY), torch.device("cpu"))
    network = torch.nn.Sequential(torch.nn.AvgPool3d(8), torch.nn.Flatten(), torch.nn.Linear(4 * 8 * 8, 5))
    first = {name: value.clone() for name, value in network.state_dict().items()}
    monkeypatch.setattr(type(job), "network", lambda self: network)
    ours, bare = Train(job, Compute()), Bare(job, Compute())
    ours.take(1)
    stepped = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(first)
    for group in bare.optimiser.param_groups:
        group["lr"] = ours.learn.opt.hypers[0]["lr"]
        group["betas"] = (ours.learn.opt.hypers[0]["mom"], group["betas"][1])
    bare.take(1)
    for name, value in network.state_dict().items():
        assert not torch.equal(value, first[name])
        assert torch.allclose(value, stepped[name], rtol=0, atol=1e-9)
