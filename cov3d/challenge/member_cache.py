"""The predictions of single networks on raw scans, kept on disk: each network predicts each scan once.

An ensemble's members appear in several submissions, and predicting thousands of scans by dozens of networks takes
hours. So what each network said is kept, in a prediction table of its own, named by its run and its checkpoint's
contents: another checkpoint under the same name is predicted anew, and so is a scan whose files have changed. It is
kept at temperature 1, which serves sets with and without temperatures. Scans are preprocessed once for all the networks
that lack them.
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
from cov3d.inference.predict import ScanPrediction, doubtful, load_members, manifest, none_readable, predict_each
from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.preprocessing.store import MANIFEST
from cov3d.training.checkpoint import CheckpointInfo, read_info
from cov3d.values import Field, check_fields, read_object, string

_SETTINGS = "settings.json"
_STATE = "state"
"""The manifest's column for what the scan's files were, see `file_state`; empty of older versions."""
_SECONDS_BETWEEN_SAVES = 60
_LONGEST = 160  # file systems allow names of 255


@dataclass
class NetworkPredictions:
    """What networks said of raw scans.

    Attributes:
        tables: by checkpoint, all of the same scans, at temperature 1.
        manifest: how each scan was cropped, with the columns of a store's manifest, and `doubtful`.
        failed: what is wrong with the scans that could not be read, by name.
        doubtful: why predictions may not be worth much, by scan.
        kept: how many predictions, of a scan by a network, were there already.
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
    """Predict raw scans by each of several networks, but for what is in `folder` already.

    Args:
        scans: paths by name.
        checkpoints: of the networks.
        folder: keeps the tables; of these scans only.
        device, jobs, threads, batch_size: as of `predict_each`.
        skip_errors: skip scans that can't be read.
        on_scan: called with how many scans are done.

    Raises:
        ScanError: a scan can't be read.
        CheckpointError: a checkpoint can't be read, or is of another version of the preprocessing.
        OutputError: the folder is of other scans, or can't be written.
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
    how: dict[str, Any] = {"device": device, "jobs": jobs, "threads": threads, "batch_size": batch_size}
    try:
        for networks, names in groups.items():
            members = load_members(networks, device, fitted_temperature=False)
            for outcome in predict_each({name: scans[name] for name in names}, members, **how):
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
    return NetworkPredictions(
        tables={checkpoint: cache.table(checkpoint, wanted) for checkpoint in checkpoints},
        manifest=manifest(records, list(cache.infos.values())),
        failed=dict(sorted(failed.items())),
        doubtful=doubtful(records, list(cache.infos.values())),
        kept=kept,
    )


class _Cache:
    """The folder of tables, and what is new to it."""

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
        """Refuse a folder of other scans: their names may be the same."""
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
                f"{self.folder} keeps predictions of the scans below {there}, and these are below {root}: give another "
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
            raise OutputError(f"{file} can't be read ({error}): remove it, and its scans are done again") from error

    def _forget(self, changed: Sequence[str]) -> None:
        """Drop scans whose files are others now, from the tables of every network in the folder."""
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
        """The checkpoints that a scan has not been predicted by, for each that lacks one."""
        found = {
            scan: [file for file in self.files if scan not in self._known[file] or scan not in self._records]
            for scan in self.scans
        }
        return {scan: files for scan, files in found.items() if files}

    def add(self, outcome: ScanPrediction, networks: Sequence[Path]) -> None:
        """Take note of a scan's predictions, and write what is new once in a while."""
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
        """Write what is new; the manifest last, for a scan that is not in it is predicted again."""
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
        """What a network said of scans, as it stands in its file, so that an interruption changes no digit."""
        file = self.files[checkpoint]
        table, categories = load_predictions(file)
        rows = table[table["scan"].isin(set(wanted))].sort_values("scan", ignore_index=True)
        return MemberTable(file.stem, (file,), rows, categories)

    def records(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        """How scans were preprocessed."""
        rows: list[dict[str, Any]] = [dict(self._records[scan]) for scan in sorted(wanted)]
        return [row | {"lung_share": float(row["lung_share"] or 0)} for row in rows]


def _table_name(checkpoint: Path) -> str:
    """A name that tells a person which network it is of, and is another for another network."""
    with checkpoint.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    run = re.sub(r"[^\w.-]", "-", checkpoint.resolve().parent.name)[:_LONGEST]
    return f"{run}_{checkpoint.stem}_T1_{digest[:12]}"
