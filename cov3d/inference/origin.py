"""What a prediction table comes from: whether a network behind it was trained on the scans that it predicts.

What is chosen on such scans (members of an ensemble, a threshold) is chosen for what the networks know by heart. A
run's validation table lies beside its checkpoint, which says what was trained on; a folder of predictions, or of what
`cov3d crossval` put together, says it in `origin.json`; of any other table nothing is known.
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
    """Write where the prediction table in `folder` comes from.

    Args:
        folder: holds `predictions.csv`, or a table a task, `out-of-fold-<task>.csv`.
        networks: what predicted: names, or the folders of a cross-validation's runs, relative to this one.
        seen_in_training: how many of its scans one of them was trained on; None where that is not known.

    Raises:
        OutputError: the file can't be written.
    """
    said = {"networks": list(networks), "seen_in_training": seen_in_training}
    write_text(folder / ORIGIN, json.dumps(said, indent=2) + "\n")


def trained_on(table: Path, scans: Iterable[str]) -> int | None:
    """How many of the scans of a prediction table a network behind it was trained on; None where nothing says.

    Raises:
        CheckpointError: the checkpoint beside it can't be read.
        PredictionsError: what is said beside it can't be read.
    """
    checkpoint = table.with_name(f"{table.stem.removeprefix(VALIDATION)}.safetensors")
    if table.name.startswith(VALIDATION) and checkpoint.is_file():
        info = read_info(checkpoint)
        return seen_in_training(info, scans) if info.trained_on else None
    if not (table.name == PREDICTIONS or table.name.startswith(OUT_OF_FOLD)):
        return None
    return _said(table.parent)["seen_in_training"]


def networks_of(folder: Path) -> list[str]:
    """What predicted the tables in a folder; none where nothing says.

    Raises:
        PredictionsError: what is said there can't be read.
    """
    return list(_said(folder)["networks"])


def _said(folder: Path) -> dict[str, Any]:
    """What `write_origin` wrote to a folder; nothing known where it did not."""
    file = folder / ORIGIN
    try:
        return check_fields(read_object(file), _FIELDS)
    except FileNotFoundError:
        return {"networks": (), "seen_in_training": None}
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{file} can't be read: {error}; predict again, or remove it") from error


def seen_by_runs(runs: Mapping[int, Path]) -> int | None:
    """How many scans a run predicts that its own network was trained on, 0 as it should be; None where unknown."""
    files = [file for folder in runs.values() for task in TASKS if (file := folder / validation_table(task)).exists()]
    counts = [trained_on(file, load_predictions(file)[0]["scan"]) for file in files]
    return None if None in counts else sum(count for count in counts if count is not None)
