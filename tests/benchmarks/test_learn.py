"""The learning check on a handful of phantoms: its table, its scores, its intervals; not what is learned."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from tests.conftest import sphere_chest
from tests.training.conftest import quick_network  # noqa: F401  the fixture

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture(autouse=True)
def quick_phantoms(importable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms that take no time, all alike."""
    import learn

    monkeypatch.setattr(learn, "make_scan", lambda *_, **__: SimpleNamespace(voxels=sphere_chest()))


@pytest.mark.usefixtures("quick_network")
def test_all_runs_are_there_and_phantoms_are_made_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import learn

    asked = {"train": 8, "validation": 16, "size": "tiny", "epochs": 1, "device": "cpu", "jobs": 1, "folder": tmp_path}
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["learn.py", *words])
    learn.main()
    shown = capsys.readouterr().out
    for row in ("crop  │ 0.2", "whole │ 0.2", "crop  │ 0 ", "whole │ 0 "):
        assert row in shown
    assert "severity, crop less whole, λ = 0.2" in shown
    whole = Store.open(tmp_path / "128-tiny-whole", Size.TINY).record("validation/3")
    assert whole.box == Box(0, 24, 0, 96, 0, 96)
    cropped = Store.open(tmp_path / "128-tiny-crop", Size.TINY).record("validation/3")
    assert cropped.crop != "override"
    monkeypatch.setattr(learn, "make_scan", None)  # the phantoms are there
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--emd-weight", "0.2"])
    learn.main()


@pytest.mark.parametrize("at_once", [1, 3])
def test_several_runs_at_once_are_the_same_runs_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    import learn

    monkeypatch.setattr(learn, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    monkeypatch.setattr(learn, "train_one", lambda kind, chosen, counts, store: (*kind, counts, store))
    chosen = SimpleNamespace(at_once=at_once, emd_weight=[0.2, 0.0])
    found = learn.train_all(chosen, {"train": 8}, {"crop": "one store", "whole": "another"})
    assert found == [
        (weight, crop, {"train": 8}, store)
        for weight in (0.2, 0.0)
        for crop, store in (("crop", "one store"), ("whole", "another"))
    ]


def test_scores_are_those_of_scikit_learn_and_severity_is_of_scans_with_a_severity() -> None:
    import learn

    chance = np.random.default_rng(0)
    labels = [learn.NON_COVID, *learn.SEVERITIES]
    table = pd.DataFrame(
        {
            "label": chance.choice(labels, 60),
            "presence": chance.choice(learn.PRESENCE, 60),
            "severity": chance.choice(learn.SEVERITIES, 60),
        }
    )
    positive = table["label"] != learn.NON_COVID
    truths = {
        "presence": (np.where(positive, *learn.PRESENCE[::-1]), table["presence"]),
        "severity": (table["label"][positive], table["severity"][positive]),
    }
    for task, (true, called) in truths.items():
        scans = learn.scored_scans(table, task)
        found = float(learn.macro_f1(scans, task)(np.arange(len(scans))))
        assert found == pytest.approx(f1_score(true, called, average="macro"))


def test_intervals_hold_the_score_and_close_when_nothing_is_predicted_wrongly() -> None:
    import learn

    labels = pd.Series(["non-covid"] * 30 + ["mild"] * 19 + ["critical"])
    right = np.where(labels == "non-covid", *learn.PRESENCE)
    wrong = right.copy()
    wrong[:6] = "covid"
    tables = [pd.DataFrame({"label": labels, "presence": presence}) for presence in (right, wrong)]
    sure, unsure = (learn.macro_f1(table, "presence") for table in tables)
    assert learn.interval(sure, labels, 500) == (1.0, 1.0)
    low, high = learn.interval(unsure, labels, 500)
    assert low < float(unsure(np.arange(50))) < high < 1.0
