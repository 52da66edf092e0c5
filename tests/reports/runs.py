"""Run folders as `cov3d train` leaves them, of networks that were never trained: their predictions are made up."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cov3d.challenge.experiments import options_of
from cov3d.evaluation.predictions import prediction_table, save_predictions, score_table
from cov3d.labels import CATEGORIES, label_index


def scan_table(counts: dict[tuple[str, str, int | None], int]) -> pd.DataFrame:
    """A scan table with so many scans of each partition, label and fold."""
    rows = [
        (f"{partition}/{label or 'unlabelled'}/scan_{fold}_{number}", partition, label, fold)
        for (partition, label, fold), count in counts.items()
        for number in range(count)
    ]
    table = pd.DataFrame(rows, columns=["scan", "partition", "label", "fold"])
    return table.astype({"fold": "Int64"}).sort_values("scan", ignore_index=True)


def probabilities(labels: Sequence[str], seed: int, skill: float = 2.5) -> np.ndarray:
    """Made-up probabilities, the nearer to the labels the more skill, shape (scans, categories)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(labels), len(CATEGORIES)))
    for row, label in zip(scores, labels, strict=True):
        index = label_index(label)
        row[index if index < len(CATEGORIES) else 2] += skill
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def write_run(
    folder: Path,
    scans: pd.DataFrame,
    *,
    fold: int = 0,
    experiment: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    skill: float = 2.5,
    finished: bool = True,
    **options: Any,
) -> dict[str, pd.DataFrame]:
    """Write the folder of a run on a fold of a scan table; give back the validation table of each task.

    The best epoch of presence is 2, that of severity 3; the last epoch is what `skill - 1` gives.
    """
    rows = scans[scans["fold"] == fold]
    labels = list(rows["label"])
    given = {**options, "fold": fold} | ({} if epochs is None else {"epochs": epochs})
    chosen = options_of(experiment, **given)
    config = {
        "options": json.loads(json.dumps(asdict(chosen), default=list)),
        "categories": list(CATEGORIES),
        "training_scans": int((scans["label"] != "").sum() - len(rows)),
        "validation_scans": len(rows),
        "started_from": {"kind": "random"},
        "compute": {"workers": 0, "deterministic": True},
        "versions": {"cov3d": "0.1.0"},
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tables, reported = {}, {}
    for place, (task, best) in enumerate((("presence", 2), ("severity", 3))):
        good, last = (
            prediction_table(list(rows["scan"]), probabilities(labels, seed + place, of), CATEGORIES, labels=labels)
            for of in (skill, skill - 1)
        )
        tables[task] = good
        save_predictions(good, folder / f"validation-{task}.csv")
        scores = [score_table(table, CATEGORIES)[place].as_dict() for table in (good, last)]
        reported[task] = {"best_epoch": best, "best": scores[0], "last": scores[1]}
    epochs = chosen.epochs
    progress = np.arange(1, epochs + 1)
    history = pd.DataFrame({"epoch": progress, "train_loss": 1.2 / progress, "valid_loss": 1.3 / progress**0.5})
    for task, best in (("presence", 2), ("severity", 3)):
        history[f"{task}_f1"] = reported[task]["best"]["macro_f1"] * (1 - 0.2 * abs(progress - best) / epochs)
    history.to_csv(folder / "history.csv", index=False)
    (folder / "curves.png").write_bytes(b"a picture")
    if finished:
        (folder / "summary.json").write_text(json.dumps({"epochs": epochs, "tasks": reported}))
    return tables
