"""Predict raw scans, or volumes of a store: averages over reflection, and over an ensemble of networks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.inference.ensemble import average
from cov3d.inference.kept import KeptPredictions, KeptScan, file_state, left_to_predict
from cov3d.inference.networks import NO_EXTRAS, Extras, Member, Networks, ScanPrediction, probabilities_of
from cov3d.inference.raw_scans import Preparation, raw_scan_batches
from cov3d.inference.review import disagreement, reasons, uncertainty
from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.preprocessing.store import Store
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.loaders import ScanDataset, scan_loader
from cov3d.volume import Volume

Source = Callable[[Mapping[str, Path]], Iterator[ScanPrediction]]
"""Paths of scans by name → their predictions."""


@dataclass
class Predictions:
    """The result of inference.

    Attributes:
        table: the prediction table, sorted by scan.
        manifest: the crop of each scan, with the columns of a store's manifest, and `doubtful`.
        failed: error messages of the scans that could not be read, by name.
        review: reasons why a person should review a prediction, by scan; without scans that have none.
        spread: standard deviation of the probability of COVID-19 by scan, over networks or dropout passes; empty with
            one network and no passes.
        zones: what each lung zone adds to the log-odds of COVID-19, by scan; empty if it was not requested.
        kept: number of scans that an interrupted command had already predicted.
    """

    table: pd.DataFrame
    manifest: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)
    review: dict[str, list[str]] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    zones: dict[str, dict[str, float]] = field(default_factory=dict)
    kept: int = 0


def predict_store(
    member: Member,
    scans: pd.DataFrame,
    store: Store,
    *,
    device: torch.device,
    workers: int = 0,
    batch_size: int = 2,
    kept: KeptPredictions | None = None,
) -> NDArray[np.float32]:
    """Probabilities (scans, categories) of preprocessed, labelled scans, averaged over reflection.

    Args:
        member: the network.
        scans: a table with the columns `scan` and `label`.
        store: the scans' preprocessed volumes.
        device: where the network is.
        workers: number of processes that load volumes.
        batch_size: scans per forward pass.
        kept: predictions of an interrupted command are taken from here, and new ones are added.

    Raises:
        StoreError: a scan is not in the store.
        OutputError: `kept` can't be written.
    """
    found: dict[str, NDArray[np.float32]] = {}
    if kept is not None:
        states = {scan: file_state(store.volume_file(scan)) for scan in scans["scan"]}
        known = kept.load(states, len(member.info.categories))
        found = {scan: one.probabilities[0] for scan, one in known.items()}
    left = scans[scans["scan"].isin(left_to_predict(list(scans["scan"]), found, batch_size))]
    if len(left):
        dataset = ScanDataset(left, store, member.info.categories)
        names = iter(left["scan"])
        with torch.inference_mode():
            for voxels, _ in scan_loader(dataset, batch_size=batch_size, workers=workers, device=device):
                for each, scan in zip(probabilities_of(member, voxels, device), names, strict=False):
                    found[scan] = each
                    if kept is not None:
                        kept.add(scan, KeptScan(each[None], {}))
    return np.stack([found[scan] for scan in scans["scan"]])


def predict_each(
    scans: Mapping[str, Path | Volume],
    networks: Networks,
    *,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
    extras: Extras = NO_EXTRAS,
) -> Iterator[ScanPrediction]:
    """Preprocess raw scans once for all sizes, and predict them with each network.

    Args:
        scans: path of each scan, or its volume, by name.
        networks: to predict with.
        jobs: number of processes that preprocess while the network predicts; 0 for this process.
        threads: number of threads that decode slices in each process; it does not change the result.
        batch_size: scans per forward pass.
        extras: what to compute beside the probabilities.

    Raises:
        ScanError: a process that preprocesses was killed.
    """
    how = Preparation(networks.sizes, threads, draw=extras.draw, find_zones=extras.explain)
    batches = raw_scan_batches(scans, how, jobs=min(jobs, len(scans)), batch_size=batch_size)
    return networks.predict_batches(batches, extras)


def predict_scans(
    scan_paths: Mapping[str, Path],
    infos: Sequence[CheckpointInfo],
    source: Source,
    *,
    batch_size: int = 2,
    skip_errors: bool = False,
    on_scan: Callable[[ScanPrediction | None], None] = lambda prediction: None,
    kept: KeptPredictions | None = None,
) -> Predictions:
    """Predict scans with the mean of networks.

    Args:
        scan_paths: path of each scan, by name.
        infos: metadata of the networks, whose mean is taken: of their probabilities for the presence, of their
            conditional probabilities of each severity for the severity.
        source: predicts scans, in order.
        batch_size: scans per forward pass.
        skip_errors: skip scans that can't be read.
        on_scan: called with each finished prediction, or None for one of an interrupted command.
        kept: predictions of an interrupted command are taken from here, and new ones are added.

    Raises:
        ScanError: a scan can't be read.
        OutputError: `kept` can't be written.
    """
    found: dict[str, KeptScan] = {}
    left = dict(scan_paths)
    if kept is not None:
        states = {scan: file_state(path) for scan, path in scan_paths.items()}
        before = kept.load(states, len(infos[0].categories))
        left = {scan: scan_paths[scan] for scan in left_to_predict(list(scan_paths), before, batch_size)}
        found = {scan: one for scan, one in before.items() if scan not in left}
        for _ in found:
            on_scan(None)
    known, failed = len(found), {}
    for prediction in source(left) if left else ():
        if prediction.error is None:
            on_scan(prediction)  # first: a scan that is kept has all its files
            found[prediction.scan] = kept_scan(prediction)
            if kept is not None:
                kept.add(prediction.scan, found[prediction.scan])
        elif skip_errors:
            failed[prediction.scan] = prediction.error
            if kept is not None:
                kept.add_failure(prediction.scan, prediction.error)
            on_scan(prediction)
        else:
            raise ScanError(prediction.error)
    if not found:
        raise none_readable(failed)
    return collected(found, infos, failed, known)


def kept_scan(prediction: ScanPrediction) -> KeptScan:
    """What is kept of a prediction: everything but its pictures and maps."""
    assert prediction.probabilities is not None
    extras: dict[str, Any] = {}
    if prediction.dropout_presence is not None:
        extras["dropout_spread"] = float(prediction.dropout_presence.std())
    if prediction.explanation is not None:
        extras["zones"] = prediction.explanation.zones
    return KeptScan(prediction.probabilities, prediction.record, extras)


def collected(
    found: Mapping[str, KeptScan], infos: Sequence[CheckpointInfo], failed: Mapping[str, str], known: int = 0
) -> Predictions:
    """The tables of predictions.

    Args:
        found: the predictions, by scan.
        infos: metadata of the networks.
        failed: error messages of the scans that could not be read.
        known: number of scans that an interrupted command had already predicted.
    """
    names = sorted(found)
    each = np.stack([found[scan].probabilities for scan in names], axis=1)
    records = [found[scan].record for scan in names]
    review = {scan: why for scan in names if (why := reasons_of(found[scan], infos))}
    spread = {scan: value for scan in names if (value := spread_of(found[scan])) is not None}
    return Predictions(
        table=average(names, each, infos[0].categories),
        manifest=manifest(records, {scan: "; ".join(why) for scan, why in review.items()}),
        failed=dict(sorted(failed.items())),
        review=review,
        spread=spread,
        zones={scan: one.extras["zones"] for scan, one in sorted(found.items()) if "zones" in one.extras},
        kept=known,
    )


def reasons_of(one: KeptScan, infos: Sequence[CheckpointInfo]) -> list[str]:
    """All reasons to review a prediction."""
    unstable = uncertainty(one.extras.get("dropout_spread", 0.0))
    return [*reasons(one.record, infos), *filter(None, [disagreement(one.probabilities), unstable])]


def spread_of(one: KeptScan) -> float | None:
    """Standard deviation of the probability of COVID-19 over dropout passes, else over networks; None for neither."""
    if "dropout_spread" in one.extras:
        return float(one.extras["dropout_spread"])
    return float(one.probabilities[:, 0].std()) if len(one.probabilities) > 1 else None


def none_readable(failed: Mapping[str, str]) -> ScanError:
    """The error for a call in which every scan failed; it quotes the first error."""
    return ScanError(f"none of the {len(failed)} scans can be read; the first error: {next(iter(failed.values()))}")


def manifest(records: Sequence[Mapping[str, Any]], review: Mapping[str, str]) -> pd.DataFrame:
    """The crop of each scan, and why its prediction should be reviewed; sorted by scan."""
    table = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
    table["doubtful"] = [review.get(scan, "") for scan in table["scan"]]
    return table.sort_values("scan", ignore_index=True)
