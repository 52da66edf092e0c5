"""The members of an ensemble, read from prediction tables, runs, cross-validations and checkpoints.

A member is one network, or one configuration trained on several folds. The validation tables of runs that differ only
in the fold are combined into one table, in which each scan is predicted by a network that was not trained on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from cov3d.errors import PredictionsError
from cov3d.inference.fold_table import FoldTable, read_fold_table
from cov3d.inference.table_file import TableFile, find_table
from cov3d.inference.task import Task
from cov3d.run_files import run_options


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
    grouped: dict[str, list[TableFile]] = {}
    for path in paths:
        found = find_table(path, task)
        grouped.setdefault(found.configuration, []).append(found)
    return _with_unique_names([_member(files, fitted_temperature=fitted_temperature) for files in grouped.values()])


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
    tables = [TableFile(file, file.parent, given_as_run=True) for file in files]
    member = _member(tables, fitted_temperature=fitted_temperature)
    return replace(member, name=name, source=(source,))


def _member(files: Sequence[TableFile], *, fitted_temperature: bool) -> MemberTable:
    """Combine the tables of one configuration."""
    paths = tuple(one.file for one in files)
    for path in paths:
        if paths.count(path) > 1:
            raise PredictionsError(f"{path} is given twice")
    parts = [read_fold_table(one, fitted_temperature=fitted_temperature) for one in files]
    _check_parts(parts)
    no_source = next((part.no_source for part in parts if part.no_source), "")
    seen = [part.seen for part in parts]
    return MemberTable(
        name=_name(files),
        files=paths,
        table=pd.concat([part.table for part in parts]).sort_values("scan", ignore_index=True),
        categories=parts[0].categories,
        folds={scan: fold for part in parts for scan, fold in part.folds.items()},
        seen=None if None in seen else sum(count for count in seen if count is not None),
        source=() if no_source else tuple(str(file) for part in parts for file in part.checkpoints),
        no_source=no_source,
        temperatures={file: value for part in parts for file, value in part.temperatures.items()},
    )


def _check_parts(parts: Sequence[FoldTable]) -> None:
    """Check that the tables of a member have the same categories and no scan in common."""
    first = parts[0]
    file_by_scan: dict[str, Path] = {}
    for part in parts:
        file = part.origin.file
        if part.categories != first.categories:
            raise PredictionsError(_other_categories(file, part.categories, first.origin.file, first.categories))
        if again := [scan for scan in part.table["scan"] if scan in file_by_scan]:
            raise PredictionsError(
                f"{file_by_scan[again[0]]} and {file} both predict {again[0]}, and their runs have the same options: "
                "leave one out, or copy one table out of its run's folder and give the copy"
            )
        file_by_scan |= dict.fromkeys(part.table["scan"], file)


def _name(files: Sequence[TableFile]) -> str:
    first = files[0]
    if first.run is None:
        return str(first.file)
    if len(files) == 1:
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
