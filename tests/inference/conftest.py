"""Run folders with the files that are read of them, without training."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cov3d.evaluation.predictions import prediction_table, save_predictions
from cov3d.labels import CATEGORIES
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.sizes import Size
from cov3d.reports import score_figures
from cov3d.training import checkpoint
from tests.training.conftest import SmallNetwork, quick_network  # noqa: F401
from tests.training.test_checkpoint import INFO

LABELS = ("non-covid", "mild", "moderate", "severe", "critical", "covid")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are written without their pictures, which take longer than all else."""
    monkeypatch.setattr(score_figures, "save_pictures", lambda found, folder: None)


def some_table(seed: int, scans: Sequence[str], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """A prediction table of random probabilities, which lean to the label where there is one."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(scans), len(CATEGORIES)))
    for row, label in enumerate(labels or []):
        logits[row, CATEGORIES.index(label) if label in CATEGORIES else 1] += 1.0
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return prediction_table(scans, probabilities.astype(np.float32), CATEGORIES, labels=labels)


def make_run(
    runs: Path,
    experiment: int | None,
    fold: int,
    *,
    seed: int | None = None,
    name: str | None = None,
    scans: int = 24,
    trained_on: Sequence[str] = ("train/elsewhere",),
) -> Path:
    """A finished run of a small network (see `quick_network`), validated on `scans` scans of its fold."""
    seed = seed if seed is not None else experiment or 0
    run = runs / (name or f"experiment-{experiment}_fold-{fold}_seed-{seed}")
    run.mkdir(parents=True)
    options = {"experiment": experiment, "fold": fold, "seed": seed, "size": "tiny"}
    (run / "config.json").write_text(json.dumps({"options": options}))
    (run / "summary.json").write_text("{}")
    names = [f"train/x/ct_{fold}_{number}" for number in range(scans)]
    labels = [LABELS[number % len(LABELS)] for number in range(scans)]
    for place, task in enumerate(("presence", "severity")):
        save_predictions(some_table(100 * seed + 10 * fold + place, names, labels), run / f"validation-{task}.csv")
        info = replace(
            INFO,
            task=task,
            fold=fold,
            experiment=experiment,
            seed=seed,
            preprocessing=settings(Size.TINY),
            trained_on=tuple(map(checkpoint.fingerprint, trained_on)),
            lung_share=(0.0, 1.0),
            model={},
        )
        network = SmallNetwork(5)
        rng = np.random.default_rng([seed, fold, place])
        weight = rng.normal(size=tuple(network.head.weight.shape)) * 0.3
        network.head.weight.data.copy_(network.head.weight.new_tensor(weight))
        checkpoint.save(run / f"{task}.safetensors", network, info)
    return run
