"""Read one prediction table, with the facts that its run and its checkpoints add: folds, temperatures, networks.

The table of a run was written at temperature 1. If a temperature was fitted to its checkpoint since, it is applied to
the table, because the checkpoint predicts other scans with it; the same for each fold of a cross-validation. The caller
can switch this off: the paper's ensembles have no temperatures. A table given directly is used unchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cov3d.errors import PredictionsError
from cov3d.evaluation.predictions import load_predictions, probability_columns
from cov3d.evaluation.temperature import scale
from cov3d.inference.origin import count_trained_on
from cov3d.inference.table_file import TableFile
from cov3d.run_files import ORIGIN, OUT_OF_FOLD, run_options
from cov3d.training.checkpoint import read_info

_Networks = Sequence[tuple[Path, "pd.Series[bool]"]]
"""Checkpoints, each with the rows of a table that it predicted."""


@dataclass(frozen=True)
class FoldTable:
    """The predictions in one file: of one run on its fold, or of a cross-validation on all folds.

    Attributes:
        origin: the file.
        table: the prediction table, at the fitted temperatures where they are applied.
        categories: of the table's columns.
        folds: the fold of each scan; empty if unknown.
        seen: number of its scans that its networks were trained on; None if unknown.
        checkpoints: of the networks that predicted it; empty if one is missing.
        no_source: why a submission can't use these networks in place of the table; empty if it can.
        temperatures: applied temperatures, by checkpoint.
    """

    origin: TableFile
    table: pd.DataFrame
    categories: tuple[str, ...]
    folds: Mapping[str, int]
    seen: int | None
    checkpoints: tuple[Path, ...]
    no_source: str
    temperatures: Mapping[Path, float]


def read_fold_table(origin: TableFile, *, fitted_temperature: bool) -> FoldTable:
    """Read a table.

    Args:
        origin: the file.
        fitted_temperature: whether to apply the temperatures of the checkpoints, if the run was given.

    Raises:
        PredictionsError: the table or its origin can't be read.
        CheckpointError: a checkpoint can't be read.
    """
    table, categories = load_predictions(origin.file)
    folds = _folds(table, origin)
    seen = count_trained_on(origin.file, table["scan"])
    networks = origin.networks(table)
    no_source = _why_no_source(origin, networks, fitted_temperature)
    applies = origin.given_as_run and fitted_temperature
    temperatures = _apply_temperatures(table, categories, networks) if applies else {}
    checkpoints = tuple(file for file, _ in networks)
    return FoldTable(origin, table, categories, folds, seen, checkpoints, no_source, temperatures)


def _folds(table: pd.DataFrame, origin: TableFile) -> dict[str, int]:
    """The fold of each scan; empty if unknown."""
    if origin.run is not None:
        return dict.fromkeys(table["scan"], run_options(origin.run)["fold"])
    if not origin.file.name.startswith(OUT_OF_FOLD) or "fold" not in table:
        return {}
    try:
        return {scan: int(fold) for scan, fold in zip(table["scan"], table["fold"], strict=True)}
    except ValueError as error:
        raise PredictionsError(f"{origin.file}: a fold must be a whole number ({error})") from None


def _why_no_source(origin: TableFile, networks: _Networks, fitted_temperature: bool) -> str:
    """Why a submission can't use the networks of a table in its place; empty if it can."""
    if origin.run is None and not origin.is_crossval:
        return f"the networks that predicted {origin.file} are unknown"
    if not networks and origin.is_crossval:
        return f"a checkpoint that predicted {origin.file} is missing in the folders that {ORIGIN} beside it lists"
    if not networks:
        return f"there is no checkpoint beside {origin.file}"
    scaled = fitted_temperature and any(read_info(file).temperature is not None for file, _ in networks)
    if scaled and not origin.given_as_run:
        return f"{origin.file} was written before a temperature was fitted: give the folder of its run instead"
    return ""


def _apply_temperatures(table: pd.DataFrame, categories: Sequence[str], networks: _Networks) -> dict[Path, float]:
    """Scale a table in place by the temperatures of its checkpoints, and return the temperatures by checkpoint."""
    columns = probability_columns(categories)
    found = {}
    for file, rows in networks:
        if (temperature := read_info(file).temperature) is not None:
            found[file] = temperature
            table.loc[rows, columns] = scale(table.loc[rows, columns].to_numpy(), temperature)
    return found


def at_temperature(table: pd.DataFrame, categories: Sequence[str], temperature: float | None) -> pd.DataFrame:
    """A network's prediction table, written at temperature 1, at another temperature; unchanged for None."""
    if temperature is None:
        return table
    columns = probability_columns(categories)
    scaled = scale(table[columns].to_numpy(), temperature)
    return table.assign(**dict(zip(columns, scaled.T, strict=True)))
