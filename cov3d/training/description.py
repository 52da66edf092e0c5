"""The description of a run: for `config.json`, for its checkpoints, and to check that it can be resumed."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from cov3d.evaluation.measures import MACRO_F1
from cov3d.evaluation.scores import evaluate_task
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.record import ScanRecord
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from cov3d.training.callbacks import EpochResult
from cov3d.training.checkpoint_schema import ASSUMED
from cov3d.training.distributed import World
from cov3d.training.loaders import Fold
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.start import Start


def describe(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    categories: Sequence[str],
    start: Start,
    compute: Compute,
    world: World,
) -> dict[str, Any]:
    """The content of `config.json`."""
    seen = scans_seen([store.record(scan) for scan in fold.train["scan"]])
    return {
        "options": asdict(options),
        "categories": list(categories),
        "preprocessing": settings(options.size),
        "training_scans": len(fold.train),
        "validation_scans": len(fold.validation),
        **seen,
        "is_synthetic": fold.is_synthetic,
        "started_from": start.describe(),
        "compute": {**asdict(compute), "processes": world.size},
        "versions": checkpoint.versions(),
    }


def scans_seen(records: Sequence[ScanRecord]) -> dict[str, Any]:
    """What the training scans were like, so that scans that are not like them are noticed.

    Args:
        records: of the training scans, as in a store's manifest.

    Returns:
        `lung_share` and `lung_ml`: the smallest and the largest, or None if unknown; `assumed`: what the readers had to
        assume about at least one scan (`orientation`, `window`).
    """
    cropped = [record for record in records if record.crop == "lungs"]
    ranges = {}
    for name in ("lung_share", "lung_ml"):
        known = [value for record in cropped if (value := getattr(record, name)) is not None]
        ranges[name] = (min(known), max(known)) if known else None
    assumed = [name for name in ASSUMED if any(getattr(record, name) == "assumed" for record in records)]
    return {**ranges, "assumed": assumed}


def identity_of(description: dict[str, Any], fold: Fold, world: World) -> dict[str, Any]:
    """Options, data and initial weights of a run, as plain values. A run can be resumed only with the same values."""
    scans = "".join(table.to_csv(index=False) for table in (fold.train, fold.validation))
    identity = {
        **description["options"],
        "categories": description["categories"],
        "preprocessing": description["preprocessing"]["hash"],
        # The file may have been moved or renamed since, but not changed.
        "started_from": {name: value for name, value in description["started_from"].items() if name != "file"},
        "scans": sha256(scans.encode()).hexdigest()[:12],
        "processes": world.size,
    }
    return json.loads(json.dumps(identity, default=list))


def checkpoint_info(
    options: TrainingOptions, fold: Fold, description: dict[str, Any], task: str, result: EpochResult
) -> checkpoint.CheckpointInfo:
    """The metadata of a checkpoint of this run; `description` is the content of `config.json`."""
    score = result.scores[task].macro_f1
    macro_f1 = evaluate_task(result.table, description["categories"], task).score(MACRO_F1)
    interval = None if macro_f1 is None else macro_f1.interval
    return checkpoint.CheckpointInfo(
        architecture=options.architecture,
        model=model_arguments(options),
        size=options.size,
        preprocessing=description["preprocessing"],
        categories=tuple(description["categories"]),
        task=task,
        fold=options.fold,
        epoch=result.epoch,
        score=float("nan") if score is None else score,
        seed=options.seed,
        trained_on=tuple(checkpoint.fingerprint(scan) for scan in sorted(fold.train["scan"])),
        lung_share=description["lung_share"],
        lung_ml=description["lung_ml"],
        assumed=description["assumed"],
        is_synthetic=description["is_synthetic"],
        score_interval=None if interval is None else (interval.low, interval.high),
        scored_scans=result.scores[task].scans,
        experiment=options.experiment,
        started_from=description["started_from"],
        options=description["options"],
        versions=description["versions"],
    )


def model_arguments(options: TrainingOptions) -> dict[str, Any]:
    """The arguments of the network, except the number of outputs."""
    return {} if options.dropout is None else {"dropout": options.dropout}
