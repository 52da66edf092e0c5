"""The scan table `scans.csv`: every scan of a dataset, its partition, label and fold."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cov3d.datasets import cov19ctdb
from cov3d.datasets.folds import FOLDS, deal
from cov3d.errors import DatasetError
from cov3d.files import write_text
from cov3d.labels import LABELS
from cov3d.readers import A_SCAN, find_scans

FILE_NAME = "scans.csv"
COLUMNS = ("scan", "partition", "label", "fold")
PARTITIONS = ("train", "validation", "test")


@dataclass(frozen=True)
class Built:
    """A scan table made from a dataset's folders, and what was found wrong on the way."""

    table: pd.DataFrame
    problems: list[str]


def build(root: Path, seed: int) -> Built:
    """The scan table of the dataset at `root`.

    The official validation partition is fold 0 and the training partition is dealt to folds 1 to 4, balanced over
    the labels (section 2.1); without a validation partition the training scans are dealt to all five. A root of no
    known layout gives a table of unlabelled scans.

    Raises:
        DatasetError: `root` is missing, holds no scan, or is a scan itself.
        ScanError: a folder can't be listed, or its name can't be written.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no dataset folder at {root}: give its root with --data")
    if cov19ctdb.is_cov19ctdb(root):
        found = cov19ctdb.find(root)
        scans, problems = found.scans, found.problems
    else:
        paths = find_scans([root])
        if root in paths:
            raise DatasetError(f"{root} holds slices itself: give the folder above it, which holds the scans")
        scans, problems = {path.relative_to(root).as_posix(): ("test", "") for path in paths}, []
    if not scans:
        raise DatasetError(f"no scan found under {root}: {A_SCAN}")
    return Built(_fold(scans, seed, problems), problems)


def _fold(scans: dict[str, tuple[str, str]], seed: int, problems: list[str]) -> pd.DataFrame:
    validation = [scan for scan, (partition, _) in scans.items() if partition == "validation"]
    train = {scan: label for scan, (partition, label) in scans.items() if partition == "train"}
    dealt_to = range(1 if validation else 0, FOLDS)
    folds = deal(train, dealt_to, seed) | dict.fromkeys(validation, 0)
    for label, count in sorted(Counter(train.values()).items()):
        if count < len(dealt_to):
            problems.append(
                f"only {count} of the training scans are {label}: {len(dealt_to) - count} of the "
                f"{len(dealt_to)} folds drawn have none"
            )
    rows = [(scan, partition, label, folds.get(scan)) for scan, (partition, label) in sorted(scans.items())]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"fold": "Int64"})


def save(table: pd.DataFrame, file: Path) -> None:
    """Write a scan table, whole or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    write_text(file, table.to_csv(index=False, lineterminator="\n"))


def load(file: Path) -> pd.DataFrame:
    """Read a scan table: columns `scan, partition, label` (strings, empty where there is none) and `fold` (Int64).

    Raises:
        DatasetError: the file is not a scan table; the sentence names the first row that is wrong.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DatasetError(f"there is no scan table at {file}: make it with cov3d folds") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} can't be read as a table: {error}") from error
    if tuple(table.columns) != COLUMNS:
        raise DatasetError(f"{file} must have the columns {','.join(COLUMNS)}, not {','.join(table.columns)}")
    _check(table, file)
    return table.assign(fold=pd.to_numeric(table["fold"]).astype("Int64"))


def _check(table: pd.DataFrame, file: Path) -> None:
    allowed = {
        "partition": PARTITIONS,
        "label": (*LABELS, ""),
        "fold": (*map(str, range(FOLDS)), ""),
    }
    for column, values in allowed.items():
        wrong = table.index[~table[column].isin(values)]
        if len(wrong):
            value = table.at[wrong[0], column]
            choices = ", ".join(value or "empty" for value in values)
            raise DatasetError(f"{file} line {wrong[0] + 2}: {column} is {value!r}, but must be one of {choices}")
    repeated = table.loc[table["scan"].duplicated(), "scan"]
    if len(repeated):
        raise DatasetError(f"{file} names the scan {repeated.iloc[0]} more than once")
    unsafe = [scan for scan in table["scan"] if not scan or scan.startswith("/") or ".." in scan.split("/")]
    if unsafe:
        raise DatasetError(f"{file}: {unsafe[0]!r} is not a path below the dataset's root")


def load_or_build(root: Path, file: Path, seed: int) -> tuple[pd.DataFrame, list[str] | None]:
    """The table in `file`, made and saved first where there is none.

    Returns:
        The table, and the problems found while making it (None where it was there already).
    """
    if file.exists():
        return load(file), None
    built = build(root, seed)
    save(built.table, file)
    return built.table, built.problems
