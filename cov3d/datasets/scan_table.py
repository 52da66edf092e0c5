"""The scan table `scans.csv`: every scan of a dataset, its partition, label and fold, its patient and its centre."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cov3d.datasets.folds import FOLDS, assign_folds
from cov3d.datasets.found import TEST, TRAIN, VALIDATION, Found
from cov3d.datasets.layouts import search
from cov3d.datasets.origin import Origin, write_origin
from cov3d.datasets.splits import Splits, read_splits
from cov3d.datasets.whole_patients import keep_whole, without_label
from cov3d.errors import DatasetError
from cov3d.files import write_text
from cov3d.labels import ALL_LABELS, NON_COVID, UNKNOWN_SEVERITY, categories_of
from cov3d.readers import A_SCAN, LeftOut
from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
from cov3d.readers.left_out import save_left_out
from cov3d.readers.unread import instead

FILE_NAME = "scans.csv"
COLUMNS = ("scan", "partition", "label", "fold")
PATIENT, CENTRE = "patient", "centre"
"""Columns of tables of datasets with known patients or centres; empty if unknown."""
PARTITIONS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Built:
    """A scan table made from a dataset's folders.

    Attributes:
        table: the scan table.
        problems: what was found wrong on the way.
        layout: the dataset whose layout the folders have; None for none that is known.
        origin: how it was made, and from what.
        left_out: what looks like a scan and is not in the table, by its path relative to the dataset's root.
    """

    table: pd.DataFrame
    problems: list[str]
    layout: str | None
    origin: Origin
    left_out: Sequence[LeftOut] = ()

    @property
    def counts(self) -> str:
        """How many scans, and of how many patients where they are known, in words."""
        scans = f"{len(self.table)} scans"
        if PATIENT not in self.table:
            return scans
        patients = self.table.loc[self.table[PATIENT] != "", PATIENT].nunique()
        return f"{scans} of {patients} patient{'s' * (patients != 1)}"


def build(root: Path, seed: int, splits: Path | None = None, before: Path | None = None) -> Built:
    """The scan table of the dataset at `root`.

    The official validation partition is fold 0. The training partition is split into folds 1 to 4, balanced over the
    labels (section 2.1); without a validation partition it is split into all five folds. No patient is in two folds.
    Without a known layout, the scans have no labels.

    Args:
        root: the dataset's folder.
        seed: random seed of the folds.
        splits: a table with other folds and labels; see `splits`.
        before: the scan table that is replaced, if any. Its patients and centres are kept if the dataset has none.

    Raises:
        DatasetError: `root` is missing, holds no scan, is a scan itself or fits two layouts; a file of labels can't
            be read; or the labels are of two datasets.
        ScanError: a folder can't be listed, or its name can't be written.
    """
    check_root(root)
    layout, found = search(root)
    if not found.scans:
        where = f"{root}, which is laid out as {layout.name} ({layout.places})" if layout else str(root)
        raise DatasetError(f"no scan found under {where}: {A_SCAN}{instead(found.left_out)}")
    labels, centres = {scan: label for scan, (_, label) in found.scans.items()}, dict(found.centres)
    if before is not None:
        _keep_columns(before, found)
    fixed: dict[str, int | None] = {}
    if splits is not None:
        fixed = _apply(read_splits(splits, sorted(found.scans), FOLDS), found, splits)
    table = _fold(found, fixed, seed)
    try:
        categories_of(table["label"])
    except ValueError as error:
        raise DatasetError(f"{splits or root}: {error}") from error
    name = layout.name if layout else None
    return Built(table, found.problems, name, Origin.of(name, seed, splits, labels, centres), found.left_out)


def _keep_columns(table: Path, found: Found) -> None:
    """Take patients and centres that a person wrote into an earlier table; one that can't be read has none."""
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return
    for column, known in ((PATIENT, found.patients), (CENTRE, found.centres)):
        if {"scan", column} <= set(rows.columns) and not (column == CENTRE and known):  # a centre may be withdrawn
            values = dict(zip(rows["scan"], rows[column].str.strip(), strict=True))
            known |= {scan: values[scan] for scan in found.scans.keys() - known.keys() if values.get(scan)}


def check_root(root: Path) -> None:
    """Check that the dataset's folder exists.

    Raises:
        DatasetError: it does not exist.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no dataset folder at {root}: give its root with --data")


def _apply(splits: Splits, found: Found, file: Path) -> dict[str, int | None]:
    """Apply a table of splits to the found scans, and return the folds that it sets, by scan."""
    found.problems += splits.problems
    fixed: dict[str, int | None] = {}
    for scan, split in splits.folds.items():
        partition, label = found.scans[scan]
        given = splits.labels[scan]
        if given and label not in ("", UNKNOWN_SEVERITY, given):
            found.problems.append(f"{scan} is {label} in the dataset and {given} in {file.name}, which is used")
        label = label if given is None else given
        if isinstance(split, str):
            partition = split
        else:
            partition = TRAIN if partition == TEST else partition
            fixed[scan] = split
        found.scans[scan] = (partition, label)
    absent = [scan for scan, (partition, _) in found.scans.items() if scan not in splits.folds and partition != TEST]
    if absent:
        found.problems.append(
            f"{len(absent)} scans are not in {file.name} and so in no fold: the first is {min(absent)}"
        )
    return fixed | dict.fromkeys(absent)


def _fold(found: Found, fixed: Mapping[str, int | None], seed: int) -> pd.DataFrame:
    """The table; scans without a `fixed` fold are assigned one."""
    folds = dict(fixed)
    folds |= {scan: 0 for scan, (partition, _) in found.scans.items() if partition == VALIDATION and scan not in fixed}
    train = {
        scan: label for scan, (partition, label) in found.scans.items() if partition == TRAIN and scan not in fixed
    }
    free_folds = range(1 if 0 in folds.values() else 0, FOLDS)
    folds = keep_whole(folds, train, found.patients, found.problems)
    train = {scan: label for scan, label in train.items() if scan not in folds}
    folds |= assign_folds({scan: label for scan, label in train.items() if label}, free_folds, seed, found.patients)
    found.problems += without_label(train, folds, len(free_folds))
    rows = [(scan, partition, label, folds.get(scan)) for scan, (partition, label) in sorted(found.scans.items())]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})
    for column, values in ((PATIENT, found.patients), (CENTRE, found.centres)):
        if known := {scan: value for scan, value in values.items() if scan in found.scans}:
            table[column] = [known.get(scan, "") for scan in table["scan"]]
    return table


def save(table: pd.DataFrame, file: Path, origin: Origin | None = None) -> None:
    """Write a scan table in one step, then how it was made, if known.

    Raises:
        OutputError: a file can't be written.
    """
    text = table.to_csv(index=False, lineterminator="\n")
    write_text(file, text)
    if origin is not None:
        write_origin(origin, text, file)


def save_built(built: Built, file: Path) -> None:
    """Write a new scan table, and beside it the table of what was left out.

    Raises:
        OutputError: a file can't be written.
    """
    save_left_out(built.left_out, file.parent / LEFT_OUT)
    save(built.table, file, built.origin)


def load(file: Path, *, whole_patients: bool = True) -> pd.DataFrame:
    """Read a scan table: columns `scan, partition, label` (strings, empty where there is none) and `fold` (Int64).

    There may be the columns `patient` and `centre` (strings, empty where not known), after these or among them.

    Args:
        whole_patients: refuse a table with a patient in two folds.

    Raises:
        DatasetError: the file is not a scan table; the sentence names the first row that is wrong.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DatasetError(f"there is no scan table at {file}: make it with cov3d folds") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} can't be read as a table: {error}") from error
    optional = [column for column in (PATIENT, CENTRE) if column in table.columns]
    if sorted(table.columns) != sorted([*COLUMNS, *optional]):
        raise DatasetError(
            f"{file} must have the columns {','.join(COLUMNS)}, and may have {PATIENT} and {CENTRE}; it has "
            f"{','.join(table.columns)}"
        )
    table = table[[*COLUMNS, *optional]]
    for column in optional:
        table[column] = table[column].str.strip()
    _check(table, file)
    if whole_patients and PATIENT in table:
        _check_patients(table, file)
    return table.assign(fold=pd.to_numeric(table["fold"]).astype("Int64"))


def _check(table: pd.DataFrame, file: Path) -> None:
    allowed = {
        "partition": PARTITIONS,
        "label": (*ALL_LABELS, ""),
        "fold": (*map(str, range(FOLDS)), ""),
    }
    for column, values in allowed.items():
        wrong = table.index[~table[column].isin(values)]
        if len(wrong):
            value = table.at[wrong[0], column]
            choices = ", ".join(value or "empty" for value in values)
            raise DatasetError(f"{file} line {wrong[0] + 2}: {column} is {value!r}, but must be one of {choices}")
    _check_one_dataset(table, file)
    repeated = table.loc[table["scan"].duplicated(), "scan"]
    if len(repeated):
        raise DatasetError(f"{file} names the scan {repeated.iloc[0]} more than once")
    unsafe = [scan for scan in table["scan"] if not scan or scan.startswith("/") or ".." in scan.split("/")]
    if unsafe:
        raise DatasetError(f"{file}: {unsafe[0]!r} is not a path below the dataset's root")


def _check_patients(table: pd.DataFrame, file: Path) -> None:
    """Refuse a patient in two folds: networks would be scored on a person that they were trained on."""
    known = table[(table[PATIENT] != "") & (table["fold"] != "") & (table["label"] != "")]
    for patient, rows in known.groupby(PATIENT, sort=False):
        firsts = rows.drop_duplicates("fold")
        if len(firsts) > 1:
            raise DatasetError(
                f"{file}: patient {patient} is in the folds {firsts['fold'].iloc[0]} (line {firsts.index[0] + 2}) and "
                f"{firsts['fold'].iloc[1]} (line {firsts.index[1] + 2}): put all scans of a patient into one fold, "
                "or make the table again with cov3d folds --overwrite, which keeps the patients"
            )


def _check_one_dataset(table: pd.DataFrame, file: Path) -> None:
    """Refuse labels of two datasets; the sentence names the first line that does not go with those before it."""
    of_all = {"", NON_COVID, UNKNOWN_SEVERITY}
    first = table.drop_duplicates("label")
    with_severity = [
        (line, label) for line, label in zip(first.index + 2, first["label"], strict=True) if label not in of_all
    ]
    for line, label in with_severity:
        if label not in categories_of([with_severity[0][1]]):
            raise DatasetError(
                f"{file} line {line}: label is {label!r}, but line {with_severity[0][0]} has {with_severity[0][1]!r}: "
                "a scan table holds the labels of one dataset"
            )


def load_or_build(root: Path, file: Path, seed: int) -> tuple[pd.DataFrame, list[str] | None]:
    """The table in `file`, made and saved first where there is none.

    Returns:
        The table, and the problems found while making it (None where it was there already).
    """
    if file.exists():
        return load(file), None
    built = build(root, seed)
    save_built(built, file)
    return built.table, built.problems
