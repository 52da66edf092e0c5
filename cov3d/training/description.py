"""What a run's files say of it: `config.json`, its checkpoints, and what it must be the same in to be gone on with."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from cov3d.training.callbacks import EpochResult
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
    """What `config.json` says."""
    records = [store.record(scan) for scan in fold.train["scan"]]
    shares = [record["lung_share"] for record in records if record["crop"] == "lungs"]
    return {
        "options": asdict(options),
        "categories": list(categories),
        "preprocessing": settings(options.size),
        "training_scans": len(fold.train),
        "validation_scans": len(fold.validation),
        "lung_share": (min(shares), max(shares)) if shares else None,
        "started_from": start.describe(),
        "compute": {**asdict(compute), "processes": world.size},
        "versions": checkpoint.versions(),
    }


def identity_of(description: dict[str, Any], fold: Fold, world: World) -> dict[str, Any]:
    """What a run is of, as plain values: it can be gone on with as this only."""
    scans = "".join(table.to_csv(index=False) for table in (fold.train, fold.validation))
    identity = {
        **description["options"],
        "categories": description["categories"],
        "preprocessing": description["preprocessing"]["hash"],
        # A file may have been moved or renamed meanwhile, but not changed.
        "started_from": {name: said for name, said in description["started_from"].items() if name != "file"},
        "scans": sha256(scans.encode()).hexdigest()[:12],
        "processes": world.size,
    }
    return json.loads(json.dumps(identity, default=list))


def checkpoint_info(
    options: TrainingOptions, fold: Fold, description: dict[str, Any], task: str, result: EpochResult
) -> checkpoint.CheckpointInfo:
    """What a checkpoint of this run says of itself; `description` is what `config.json` says."""
    score = result.scores[task].macro_f1
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
        experiment=options.experiment,
        started_from=description["started_from"],
        options=description["options"],
        versions=description["versions"],
    )


def model_arguments(options: TrainingOptions) -> dict[str, Any]:
    """The arguments of the network beside its outputs."""
    return {} if options.dropout is None else {"dropout": options.dropout}
