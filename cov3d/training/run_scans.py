"""The training and validation scans of a run, `fold.csv`, and their differences from the current scan table.

Runs of older versions have no such file. Then the scans come from the checkpoints (fingerprints of the training scans)
and the validation tables (scans and labels); only the labels of the training scans are unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cov3d.errors import CheckpointError
from cov3d.evaluation.predictions import load_predictions
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import SCANS, checkpoint_name, validation_table
from cov3d.training.checkpoint import fingerprint, read_info

if TYPE_CHECKING:  # it loads torch
    from cov3d.training.loaders import Fold

TRAIN, VALIDATION = "train", "validation"
_COLUMNS = ("scan", "part", "label")


@dataclass(frozen=True)
class _Scan:
    """A scan of a run: its part (`train` or `validation`), label and name; empty if unknown."""

    part: str
    label: str = ""
    name: str = ""


def save(folder: Path, fold: "Fold") -> None:
    """Write the scans of a run: `scan,part,label`, where the part is `train` or `validation`.

    Raises:
        OutputError: the file can't be written.
    """
    parts = {TRAIN: fold.train, VALIDATION: fold.validation}
    table = pd.concat([rows.assign(part=part) for part, rows in parts.items()])
    write_text(folder / SCANS, table[list(_COLUMNS)].to_csv(index=False, lineterminator="\n"))


def differences(folder: Path, fold: "Fold") -> list[str]:
    """Differences of a fold's scans and labels from those of the run in `folder`, in words.

    Empty if there are none, as far as the run's files show.

    Raises:
        CheckpointError: a file of the run can't be read.
        PredictionsError: a validation table of the run can't be read.
    """
    known, is_complete = _recorded(folder)
    now = _by_fingerprint(TRAIN, fold.train) | _by_fingerprint(VALIDATION, fold.validation)
    if not known:
        return []
    both = known.keys() & now.keys()
    labelled = [key for key in both if known[key].label]
    gone = [known[key].name or "" for key in known.keys() - now.keys()]
    added = [now[key].name for key in now.keys() - known.keys() if is_complete or now[key].part == VALIDATION]
    moved = [now[key].name for key in both if known[key].part != now[key].part]
    relabelled = [
        f"{now[key].name}: {known[key].label}, now {now[key].label}"
        for key in labelled
        if known[key].label != now[key].label
    ]
    words = {
        "no longer in the scan table": gone,
        "added to the scan table since": added,
        "in another fold since": moved,
        "labelled differently since": relabelled,
    }
    return [_in_words(scans, what) for what, scans in words.items() if scans]


def _in_words(scans: Sequence[str], what: str) -> str:
    number = f"{len(scans)} scan{'s' * (len(scans) > 1)} {'are' if len(scans) > 1 else 'is'} {what}"
    first = min((scan for scan in scans if scan), default="")
    return f"{number} ({first}{', …' * (len(scans) > 1)})" if first else number


def _by_fingerprint(part: str, scans: pd.DataFrame) -> dict[str, _Scan]:
    rows = zip(scans["scan"], scans["label"], strict=True)
    return {fingerprint(scan): _Scan(part, label, scan) for scan, label in rows}


def _recorded(folder: Path) -> tuple[Mapping[str, _Scan], bool]:
    """The scans of a run by fingerprint, and whether these are all scans."""
    file = folder / SCANS
    if not file.is_file():
        return _from_other_files(folder)
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        parts = {part: _by_fingerprint(part, table[table["part"] == part]) for part in (TRAIN, VALIDATION)}
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{file} can't be read as the scans of a run ({error}): delete it") from error
    return parts[TRAIN] | parts[VALIDATION], True


def _from_other_files(folder: Path) -> tuple[Mapping[str, _Scan], bool]:
    trained: Iterable[str] = ()
    validated: dict[str, _Scan] = {}
    for task in TASKS:
        checkpoint, table = folder / checkpoint_name(task), folder / validation_table(task)
        if checkpoint.is_file():
            trained = trained or read_info(checkpoint).trained_on
        if table.is_file():
            rows = load_predictions(table)[0]
            validated |= _by_fingerprint(VALIDATION, rows if "label" in rows else rows.assign(label=""))
    return {key: _Scan(TRAIN) for key in trained} | validated, bool(trained) and bool(validated)
