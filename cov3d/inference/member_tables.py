"""Read the prediction tables of an ensemble's members from tables, runs, cross-validations and checkpoints.

A member is one network, or one configuration trained on several folds. The validation tables of runs that differ only
in the fold are combined into one table, in which each scan is predicted by a network that was not trained on it.

The table of a run was written at temperature 1. If a temperature was fitted to its checkpoint since, it is applied to
the table, because the checkpoint predicts other scans with it; the same for each fold of a cross-validation. The caller
can switch this off: the paper's ensembles have no temperatures. A table given directly is used unchanged.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cov3d.errors import PredictionsError
from cov3d.evaluation.predictions import load_predictions, probability_columns
from cov3d.evaluation.temperature import scale
from cov3d.inference.origin import count_trained_on, networks_of
from cov3d.inference.task import Task
from cov3d.run_files import ORIGIN, OUT_OF_FOLD, PREDICTIONS, VALIDATION, checkpoint_name, is_run, run_options
from cov3d.training.checkpoint import read_info


@dataclass(frozen=True)
class MemberTable:
    """The predictions of a member.

    Attributes:
        name: shown in reports.
        files: the tables that it was read from.
        table: a prediction table, sorted by scan.
        categories: of the table's columns.
        folds: the fold of each scan, if known from runs or a cross-validation; else empty.
        seen: number of its scans that its networks were trained on; None if unknown.
        source: its entry in a list of submissions: an experiment's number, or the checkpoints. Empty if there are no
            checkpoints, or if they would now predict something else.
        no_source: the reason, if there is no source.
        temperatures: applied temperatures, by checkpoint.
    """

    name: str
    files: tuple[Path, ...]
    table: pd.DataFrame
    categories: tuple[str, ...]
    folds: Mapping[str, int] = field(default_factory=dict)
    seen: int | None = None
    source: tuple[str, ...] = ()
    no_source: str = ""
    temperatures: Mapping[Path, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """A table, its run, and whether the user gave the run or cross-validation, not the table itself."""

    file: Path
    run: Path | None = None
    given_as_run: bool = False

    @property
    def is_crossval(self) -> bool:
        """Whether this is the table of a cross-validation whose folder was given."""
        return self.given_as_run and self.run is None

    def networks(self, table: pd.DataFrame) -> list[tuple[Path, "pd.Series[bool]"]]:
        """The checkpoints that predicted the table, each with its rows; empty if a checkpoint is missing."""
        task = self.file.stem.removeprefix(VALIDATION).removeprefix(OUT_OF_FOLD)
        if self.is_crossval:
            rows_of = {fold: table["fold"] == fold for fold in table["fold"].unique()} if "fold" in table else {}
            runs = {run_options(run)["fold"]: run for run in _runs_of(self.file.parent)}
        else:
            rows_of = {0: pd.Series(True, index=table.index)}
            runs = {} if self.run is None else {0: self.run}
        files = {fold: runs[fold] / checkpoint_name(task) for fold in rows_of if fold in runs}
        if len(files) < len(rows_of) or not all(file.is_file() for file in files.values()):
            return []
        return [(files[fold], rows) for fold, rows in rows_of.items()]


def _runs_of(crossval: Path) -> list[Path]:
    """The folders of a cross-validation's runs, as far as they exist."""
    return [run for network in networks_of(crossval) if is_run(run := crossval / network)]


def gather(paths: Sequence[Path], task: Task, *, fitted_temperature: bool = True) -> list[MemberTable]:
    """Read the members of an ensemble.

    Args:
        paths: prediction tables, folders with a `predictions.csv`, folders of runs or of `cov3d crossval`, checkpoints.
        task: selects the table of a run or a cross-validation.
        fitted_temperature: whether to apply the temperatures of checkpoints to the tables of their runs.

    Raises:
        PredictionsError: a path has no table, is given twice, or its table can't be read.
        CheckpointError: a checkpoint can't be read.
    """
    grouped: dict[str, list[_Part]] = {}
    for path in paths:
        part = _part(path, task)
        grouped.setdefault(_key(part), []).append(part)
    return _with_unique_names([_member(parts, fitted_temperature=fitted_temperature) for parts in grouped.values()])


def _with_unique_names(members: list[MemberTable]) -> list[MemberTable]:
    """The members; those with the same name are renamed to their first file."""
    names = [member.name for member in members]
    return [replace(one, name=str(one.files[0])) if names.count(one.name) > 1 else one for one in members]


def member_of_runs(files: Sequence[Path], name: str, source: str, *, fitted_temperature: bool) -> MemberTable:
    """Combine the tables of runs of one configuration into a member.

    Args:
        files: the runs' tables, `validation-<task>.csv` in the runs' folders.
        name: of the member.
        source: its entry in a list of submissions.
        fitted_temperature: as in `gather`.

    Raises:
        PredictionsError: a table can't be read.
    """
    parts = [_Part(file, file.parent, given_as_run=True) for file in files]
    member = _member(parts, fitted_temperature=fitted_temperature)
    return replace(member, name=name, source=(source,))


def _part(path: Path, task: Task) -> _Part:
    if path.suffix == ".safetensors":
        table = path.with_name(f"{VALIDATION}{read_info(path).task}.csv")
        if not table.is_file():
            raise PredictionsError(f"there is no {table.name} beside {path}: give the folder of its run, or a table")
        return _Part(table, path.parent if is_run(path.parent) else None, given_as_run=True)
    if path.is_dir() and is_run(path):
        return _Part(path / f"{VALIDATION}{_one(task, path)}.csv", path, given_as_run=True)
    if path.is_dir():
        if any(path.glob(f"{OUT_OF_FOLD}*.csv")):
            return _Part(path / f"{OUT_OF_FOLD}{_one(task, path)}.csv", given_as_run=True)
        if not (path / PREDICTIONS).is_file():
            raise PredictionsError(f"{path} is neither a run nor a folder with a {PREDICTIONS}")
        return _Part(path / PREDICTIONS)
    of_run = path.name.startswith(VALIDATION) and is_run(path.parent)
    return _Part(path, path.parent if of_run else None)


def _one(task: Task, folder: Path) -> Task:
    """The task, which must not be `both`."""
    if task == Task.BOTH:
        raise PredictionsError(
            f"{folder} has a prediction table for each task: choose one with --task presence or --task severity"
        )
    return task


def _key(part: _Part) -> str:
    """Group key: the table's name and all options of the run except the fold."""
    if part.run is None:
        return str(part.file.resolve())
    options = run_options(part.run)
    del options["fold"]
    return json.dumps([part.file.name, options], sort_keys=True)


def _member(parts: Sequence[_Part], *, fitted_temperature: bool) -> MemberTable:
    """Combine the tables of one member's folds."""
    files = tuple(part.file for part in parts)
    tables: list[pd.DataFrame] = []
    folds: dict[str, int] = {}
    seen: list[int | None] = []
    place: dict[str, Path] = {}
    temperatures: dict[Path, float] = {}
    categories: tuple[str, ...] = ()
    networks: list[Path] = []
    no_source = ""
    for part in parts:
        if files.count(part.file) > 1:
            raise PredictionsError(f"{part.file} is given twice")
        table, these = load_predictions(part.file)
        if categories and these != categories:
            raise PredictionsError(_other_categories(part.file, these, files[0], categories))
        categories = these
        if again := [scan for scan in table["scan"] if scan in place]:
            raise PredictionsError(
                f"{place[again[0]]} and {part.file} both predict {again[0]}, and their runs have the same options: "
                "leave one out, or copy one table out of its run's folder and give the copy"
            )
        place |= dict.fromkeys(table["scan"], part.file)
        if part.run is not None:
            folds |= dict.fromkeys(table["scan"], run_options(part.run)["fold"])
        elif part.file.name.startswith(OUT_OF_FOLD) and "fold" in table:
            folds |= dict(zip(table["scan"], _fold_numbers(table["fold"], part.file), strict=True))
        seen.append(count_trained_on(part.file, table["scan"]))
        predicted_by = part.networks(table)
        networks += [file for file, _ in predicted_by]
        no_source = no_source or _why_no_source(part, predicted_by, fitted_temperature)
        if part.given_as_run and fitted_temperature:
            temperatures |= _apply_temperatures(table, these, predicted_by)
        tables.append(table)
    source = () if no_source else tuple(map(str, networks))
    return MemberTable(
        name=_name(parts),
        files=files,
        table=pd.concat(tables).sort_values("scan", ignore_index=True),
        categories=categories,
        folds=folds,
        seen=None if None in seen else sum(count for count in seen if count is not None),
        source=source,
        no_source=no_source,
        temperatures=temperatures,
    )


def at_temperature(table: pd.DataFrame, categories: Sequence[str], temperature: float | None) -> pd.DataFrame:
    """A network's prediction table, written at temperature 1, at another temperature; unchanged for None."""
    if temperature is None:
        return table
    columns = probability_columns(categories)
    scaled = scale(table[columns].to_numpy(), temperature)
    return table.assign(**dict(zip(columns, scaled.T, strict=True)))


def _why_no_source(part: _Part, predicted_by: Sequence[tuple[Path, Any]], fitted_temperature: bool) -> str:
    """Why a submission can't use the networks of a table in its place; empty if it can."""
    if part.run is None and not part.is_crossval:
        return f"the networks that predicted {part.file} are unknown"
    if not predicted_by and part.is_crossval:
        return f"a checkpoint that predicted {part.file} is missing in the folders that {ORIGIN} beside it lists"
    if not predicted_by:
        return f"there is no checkpoint beside {part.file}"
    scaled = fitted_temperature and any(read_info(file).temperature is not None for file, _ in predicted_by)
    if scaled and not part.given_as_run:
        return f"{part.file} was written before a temperature was fitted: give the folder of its run instead"
    return ""


def _apply_temperatures(
    table: pd.DataFrame, categories: Sequence[str], predicted_by: Sequence[tuple[Path, "pd.Series[bool]"]]
) -> dict[Path, float]:
    """Scale a table in place by the temperatures of its checkpoints, and return the temperatures by checkpoint."""
    columns = probability_columns(categories)
    found = {}
    for file, rows in predicted_by:
        if (temperature := read_info(file).temperature) is not None:
            found[file] = temperature
            table.loc[rows, columns] = scale(table.loc[rows, columns].to_numpy(), temperature)
    return found


def _fold_numbers(folds: pd.Series, file: Path) -> list[int]:
    try:
        return [int(fold) for fold in folds]
    except ValueError as error:
        raise PredictionsError(f"{file}: a fold must be a whole number ({error})") from None


def _name(parts: Sequence[_Part]) -> str:
    first = parts[0]
    if first.run is None:
        return str(first.file)
    if len(parts) == 1:
        return first.run.name
    fold = run_options(first.run)["fold"]
    return first.run.name.replace(f"_fold-{fold}", "")


def check_together(members: Sequence[MemberTable]) -> None:
    """Check that members can be averaged: they must have the same categories, scans and labels.

    Raises:
        PredictionsError: they do not; the message names the file and the scan.
    """
    first = members[0]
    labels: dict[str, tuple[str, MemberTable]] = {}
    every = {scan: member for member in members for scan in member.table["scan"]}
    for member in members:
        if member.categories != first.categories:
            raise PredictionsError(
                _other_categories(member.files[0], member.categories, first.files[0], first.categories)
            )
        if lacking := sorted(set(every) - set(member.table["scan"])):
            other = _file_of(every[lacking[0]])
            more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            raise PredictionsError(
                f"{_file_of(member)} has no prediction of {lacking[0]}{more}, but {other} has: all members must "
                "predict the same scans"
            )
        if "label" not in member.table:
            continue
        for scan, label in zip(member.table["scan"], member.table["label"], strict=True):
            known, where = labels.setdefault(scan, (label, member)) if label else (label, member)
            if known != label:
                raise PredictionsError(
                    f"{scan} is {known} in {_file_of(where)} but {label} in {_file_of(member)}: all members must have "
                    "the labels of the same scan table"
                )


def _file_of(member: MemberTable) -> str:
    more = f" (of {len(member.files)} files)" if len(member.files) > 1 else ""
    return f"{member.files[0]}{more}"


def _other_categories(file: Path, these: Sequence[str], first: Path, those: Sequence[str]) -> str:
    return f"{file} has the categories {', '.join(these)}, but {first} has {', '.join(those)}: they can't be averaged"
