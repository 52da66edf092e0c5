"""The predictions of single networks for raw scans, kept on disk: each network predicts each scan once.

Several submissions share networks, and predicting thousands of scans by dozens of networks takes hours. So the
predictions of each network are kept in a prediction table, whose name has the run and a hash of the checkpoint. A
changed checkpoint or scan is predicted again. Predictions are kept at temperature 1, for sets with and without
temperatures. A scan is preprocessed once for all networks that have not predicted it.
"""

import hashlib
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cov3d.errors import OutputError, ScanError
from cov3d.evaluation.predictions import load_predictions, prediction_table, probability_columns, save_predictions
from cov3d.files import remove_aside, write_text
from cov3d.inference.kept import file_state
from cov3d.inference.member_tables import MemberTable
from cov3d.inference.networks import Networks, ScanPrediction, load_members
from cov3d.inference.predict import manifest, none_readable, predict_each
from cov3d.inference.review import reviewed
from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.preprocessing.store import MANIFEST
from cov3d.training.checkpoint import CheckpointInfo, read_info
from cov3d.values import Field, check_fields, read_object, string

_SETTINGS = "settings.json"
_STATE = "state"
"""The manifest's column for the state of the scan's files, see `file_state`; empty in older versions."""
_SECONDS_BETWEEN_SAVES = 60
_LONGEST = 160  # file systems allow names of 255


@dataclass
class NetworkPredictions:
    """The predictions of networks for raw scans.

    Attributes:
        tables: predictions by checkpoint, of the same scans, at temperature 1.
        manifest: how each scan was cropped, with the columns of a store's manifest, and `doubtful`.
        failed: reasons why scans could not be read, by name.
        doubtful: reasons why predictions may be unreliable, by scan.
        kept: number of predictions (of one scan by one network) from an earlier call.
    """

    tables: dict[Path, MemberTable]
    manifest: pd.DataFrame
    failed: dict[str, str]
    doubtful: dict[str, str]
    kept: int


def predict_networks(
    scans: Mapping[str, Path],
    checkpoints: Sequence[Path],
    folder: Path,
    *,
    device: torch.device,
    jobs: int = 0,
    threads: int = 1,
    batch_size: int = 2,
    skip_errors: bool = False,
    on_scan: Callable[[int], None] = lambda done: None,
) -> NetworkPredictions:
    """Predict raw scans with each of several networks, except predictions that are already in `folder`.

    Args:
        scans: paths by name.
        checkpoints: checkpoints of the networks.
        folder: folder of the tables; it must not be used for other scans.
        device, jobs, threads, batch_size: as in `predict_each`.
        skip_errors: skip scans that can't be read.
        on_scan: called with the number of finished scans.

    Raises:
        ScanError: a scan can't be read.
        CheckpointError: a checkpoint can't be read, or needs another version of the preprocessing.
        OutputError: the folder was used for other scans, or can't be written.
    """
    cache = _Cache(folder, scans, checkpoints)
    lacking = cache.lacking()
    kept = len(scans) * len(checkpoints) - sum(map(len, lacking.values()))
    failed: dict[str, str] = {}
    done = len(scans) - len(lacking)
    on_scan(done)
    groups: dict[tuple[Path, ...], list[str]] = defaultdict(list)
    for scan, by in lacking.items():
        groups[tuple(by)].append(scan)
    how: dict[str, Any] = {"jobs": jobs, "threads": threads, "batch_size": batch_size}
    try:
        for networks, names in groups.items():
            members = load_members(networks, device, fitted_temperature=False)
            for outcome in predict_each({name: scans[name] for name in names}, Networks(members, device), **how):
                done += 1
                if outcome.error is None:
                    cache.add(outcome, networks)
                elif skip_errors:
                    failed[outcome.scan] = outcome.error
                else:
                    raise ScanError(outcome.error)
                on_scan(done)
    finally:
        cache.save()
    wanted = [scan for scan in scans if scan not in failed]
    if not wanted:
        raise none_readable(failed)
    records = cache.records(wanted)
    review = reviewed(records, list(cache.infos.values()))
    return NetworkPredictions(
        tables={checkpoint: cache.table(checkpoint, wanted) for checkpoint in checkpoints},
        manifest=manifest(records, review),
        failed=dict(sorted(failed.items())),
        doubtful=review,
        kept=kept,
    )


class _Cache:
    """The folder of tables, and predictions to be added to it."""

    def __init__(self, folder: Path, scans: Mapping[str, Path], checkpoints: Sequence[Path]) -> None:
        self.folder, self.scans = folder, scans
        self._claim()
        self.infos: dict[Path, CheckpointInfo] = {file: read_info(file) for file in checkpoints}
        self.files = {file: folder / f"{_table_name(file)}.csv" for file in checkpoints}
        self._states = {scan: file_state(path) for scan, path in scans.items()}
        records = self._load_manifest()
        self._forget([scan for scan in scans if records.get(scan, {}).get(_STATE, "") not in ("", self._states[scan])])
        self._known: dict[Path, dict[str, NDArray[Any]]] = {file: self._load(file) for file in checkpoints}
        self._records = records
        self._changed: set[Path] = set()
        self._saved = time.monotonic()

    def _claim(self) -> None:
        """Refuse a folder that was used for other scans, which may have the same names."""
        root = os.path.commonpath([os.path.abspath(path.parent) for path in self.scans.values()])  # noqa: PTH100
        file = self.folder / _SETTINGS
        if not file.exists():
            write_text(file, json.dumps({"scans_below": root}, indent=2) + "\n")
        try:
            there = check_fields(read_object(file), {"scans_below": Field(string)})["scans_below"]
        except (OSError, ValueError) as error:
            raise OutputError(f"{file} can't be read ({error}): remove {self.folder}") from error
        if there != root:
            raise OutputError(
                f"{self.folder} has predictions of the scans below {there}, but these are below {root}: give another "
                f"--output-dir, or remove {self.folder}"
            )
        remove_aside(self.folder)

    def _load(self, checkpoint: Path) -> dict[str, NDArray[Any]]:
        file = self.files[checkpoint]
        if not file.exists():
            return {}
        table, categories = load_predictions(file)
        return dict(zip(table["scan"], table[probability_columns(categories)].to_numpy(), strict=True))

    def _load_manifest(self) -> dict[str, dict[str, str]]:
        file = self.folder / MANIFEST
        if not file.exists():
            return {}
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            table = table.assign(**{_STATE: table.get(_STATE, "")})[[*RECORD_COLUMNS, _STATE]]
            return {row["scan"]: {str(name): value for name, value in row.items()} for row in table.to_dict("records")}
        except (OSError, ValueError, KeyError) as error:
            raise OutputError(f"{file} can't be read ({error}): remove it, to predict its scans again") from error

    def _forget(self, changed: Sequence[str]) -> None:
        """Remove scans whose files have changed from the tables of all networks in the folder."""
        for file in self.folder.glob("*.csv") if changed else ():
            if file.name == MANIFEST:
                continue
            table, _ = load_predictions(file)
            left = table[~table["scan"].isin(changed)]
            if left.empty:
                file.unlink()
            elif len(left) < len(table):
                save_predictions(left, file)

    def lacking(self) -> dict[str, list[Path]]:
        """For each scan that is not predicted by all checkpoints, the checkpoints that have not predicted it."""
        found = {
            scan: [file for file in self.files if scan not in self._known[file] or scan not in self._records]
            for scan in self.scans
        }
        return {scan: files for scan, files in found.items() if files}

    def add(self, outcome: ScanPrediction, networks: Sequence[Path]) -> None:
        """Add a scan's predictions, and write new predictions from time to time."""
        assert outcome.probabilities is not None
        for file, probabilities in zip(networks, outcome.probabilities, strict=True):
            self._known[file][outcome.scan] = probabilities
            self._changed.add(file)
        self._records[outcome.scan] = {
            name: "" if (value := outcome.record.get(name)) is None else str(value) for name in RECORD_COLUMNS
        } | {_STATE: self._states[outcome.scan]}
        if time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write new predictions. The manifest is last: a scan that is not in it is predicted again."""
        for file in sorted(self._changed):
            known = self._known[file]
            names = sorted(known)
            table = prediction_table(names, np.stack([known[name] for name in names]), self.infos[file].categories)
            save_predictions(table, self.files[file])
        if self._changed:
            columns = [*RECORD_COLUMNS, _STATE]
            rows = pd.DataFrame([self._records[name] for name in sorted(self._records)], columns=columns)
            write_text(self.folder / MANIFEST, rows.to_csv(index=False, lineterminator="\n"))
        self._changed.clear()
        self._saved = time.monotonic()

    def table(self, checkpoint: Path, wanted: Sequence[str]) -> MemberTable:
        """The predictions of a network as in its file, so that an interruption does not change a digit."""
        file = self.files[checkpoint]
        table, categories = load_predictions(file)
        rows = table[table["scan"].isin(set(wanted))].sort_values("scan", ignore_index=True)
        return MemberTable(file.stem, (file,), rows, categories)

    def records(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        """The records of scans."""
        rows: list[dict[str, Any]] = [dict(self._records[scan]) for scan in sorted(wanted)]
        return [row | {"lung_share": float(row["lung_share"] or 0)} for row in rows]


def _table_name(checkpoint: Path) -> str:
    """A readable name for a network's table, different for each network."""
    with checkpoint.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    run = re.sub(r"[^\w.-]", "-", checkpoint.resolve().parent.name)[:_LONGEST]
    return f"{run}_{checkpoint.stem}_T1_{digest[:12]}"
