"""The origin of a prediction table: its networks, and whether they were trained on the scans that they predict.

Selecting members or a threshold on scans that the networks were trained on overfits. For a run's validation table, the
checkpoint beside it lists the training scans. Folders of predictions and of `cov3d crossval` have this in
`origin.json`. The origin of any other table is unknown.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cov3d.errors import PredictionsError
from cov3d.evaluation.predictions import load_predictions
from cov3d.files import write_text
from cov3d.labels import TASKS
from cov3d.run_files import ORIGIN, OUT_OF_FOLD, PREDICTIONS, VALIDATION, validation_table
from cov3d.training.checkpoint import read_info, seen_in_training
from cov3d.values import Field, check_fields, integer, listed, optional, read_object, string

_FIELDS = {"networks": Field(listed(string)), "seen_in_training": Field(optional(integer(0)))}


def write_origin(folder: Path, *, networks: Iterable[str], seen_in_training: int | None) -> None:
    """Write the origin of the prediction table in `folder`.

    Args:
        folder: holds `predictions.csv`, or a table for each task, `out-of-fold-<task>.csv`.
        networks: names of the networks, or the folders of a cross-validation's runs relative to `folder`.
        seen_in_training: number of predicted scans that a network was trained on; None if unknown.

    Raises:
        OutputError: the file can't be written.
    """
    values = {"networks": list(networks), "seen_in_training": seen_in_training}
    write_text(folder / ORIGIN, json.dumps(values, indent=2) + "\n")


def count_trained_on(table: Path, scan_names: Iterable[str]) -> int | None:
    """Number of scans of a prediction table that one of its networks was trained on; None if unknown.

    Raises:
        CheckpointError: the checkpoint beside the table can't be read.
        PredictionsError: `origin.json` beside the table can't be read.
    """
    checkpoint = table.with_name(f"{table.stem.removeprefix(VALIDATION)}.safetensors")
    if table.name.startswith(VALIDATION) and checkpoint.is_file():
        info = read_info(checkpoint)
        return seen_in_training(info, scan_names) if info.trained_on else None
    if not (table.name == PREDICTIONS or table.name.startswith(OUT_OF_FOLD)):
        return None
    return _read_origin(table.parent)["seen_in_training"]


def networks_of(folder: Path) -> list[str]:
    """The networks that predicted the tables in a folder; empty if unknown.

    Raises:
        PredictionsError: `origin.json` in the folder can't be read.
    """
    return list(_read_origin(folder)["networks"])


def _read_origin(folder: Path) -> dict[str, Any]:
    """The origin that `write_origin` wrote to a folder; an unknown one if there is none."""
    file = folder / ORIGIN
    try:
        return check_fields(read_object(file), _FIELDS)
    except FileNotFoundError:
        return {"networks": (), "seen_in_training": None}
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{file} can't be read: {error}; predict again, or remove it") from error


def seen_by_runs(runs: Mapping[int, Path]) -> int | None:
    """Number of scans that a run's network was trained on and predicts (0 if the run is valid); None if unknown."""
    files = [file for folder in runs.values() for task in TASKS if (file := folder / validation_table(task)).exists()]
    counts = [count_trained_on(file, load_predictions(file)[0]["scan"]) for file in files]
    return None if None in counts else sum(count for count in counts if count is not None)
