"""A table of splits that others made (`path,split,has_covid,category`) → labels and folds of a dataset's scans.

The paper's own table has numbers for splits: 0 is the validation partition, 1 to 4 are the folds of the training
partition. A scan that the table has in two splits is in no fold, since it would be trained and scored on; where rows
disagree about a scan or are inconsistent, the scan has no label. Both are reported.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cov3d.datasets.found import TEST, TRAIN, VALIDATION, in_words, stem
from cov3d.datasets.rows import Row, read_rows
from cov3d.errors import DatasetError
from cov3d.labels import ALL_LABELS, CATEGORIES, LABELS, NON_COVID, UNKNOWN_SEVERITY

COLUMNS = ("path", "split", "has_covid", "category")
_WORDS = {
    **{"train": TRAIN, "training": TRAIN, "validation": VALIDATION, "val": VALIDATION, "valid": VALIDATION},
    "test": TEST,
}
_PRESENCE = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "covid", "positive"), True),
    **dict.fromkeys(("0", "0.0", "false", "no", NON_COVID, "negative"), False),
}
_CATEGORIES = f"{', '.join(ALL_LABELS)}, a number from 0 ({LABELS[0]}) to {len(CATEGORIES)} ({LABELS[-1]}), or empty"
_NOTHING = ("", "-", "nan", "none")


@dataclass
class Splits:
    """The content of a table of splits.

    Attributes:
        labels: by scan; None if there is none, empty if it is unclear.
        folds: the number of a fold, or the name of a partition, by scan; None where it is not clear.
        problems: what was found wrong.
    """

    labels: dict[str, str | None] = field(default_factory=dict)
    folds: dict[str, int | str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_splits(file: Path, scans: list[str], folds: int) -> Splits:
    """Read a table of splits.

    Args:
        file: a CSV file with the columns `path`, `split`, `has_covid` and `category`.
        scans: the names of the dataset's scans. A row's path is one of them, or ends in one.
        folds: how many there are, for the splits that are numbers.

    Raises:
        DatasetError: the file can't be read, or none of its rows names a scan.
    """
    splits = Splits()
    names = _ScanPaths(scans)
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(file, COLUMNS):
        found = names.find(row.values["path"])
        if len(found) == 1:
            rows[found[0]].append(row)
        else:
            which = f"may be {in_words(sorted(found)[:3])}" if found else "is no scan of the dataset"
            splits.problems.append(f"{file.name} line {row.line}: {row.values['path']!r} {which}")
    if not rows:
        raise DatasetError(
            f"none of the rows of {file} names a scan of the dataset: a path is the scan's, relative to the "
            "dataset's root, or ends in it, with or without a file's suffix"
        )
    for scan, given in rows.items():
        splits.labels[scan] = _agreed_label(scan, given, file, splits.problems)
        splits.folds[scan] = _agreed_fold(scan, given, file, folds, splits.problems)
    return splits


def _where(file: Path, rows: list[Row]) -> str:
    return f"{file.name} line{'s' * (len(rows) > 1)} {in_words(str(row.line) for row in rows)}"


def _agreed_label(scan: str, rows: list[Row], file: Path, problems: list[str]) -> str | None:
    labels = {_label(scan, row, file, problems) for row in rows}
    if len(labels) == 1:
        return labels.pop()
    words = in_words(sorted(label or "nothing clear" for label in labels))
    problems.append(f"{_where(file, rows)}: the rows of {scan} disagree ({words})")
    return UNKNOWN_SEVERITY if not labels & {None, "", NON_COVID} else ""


def _label(scan: str, row: Row, file: Path, problems: list[str]) -> str | None:
    """The label in a row; None if it has none, empty if it is inconsistent."""
    category = _category(row.values["category"])
    presence = _PRESENCE.get(_plain(row.values["has_covid"]))
    if category is None or (presence is None and _plain(row.values["has_covid"]) not in _NOTHING):
        column, allowed = ("category", _CATEGORIES) if category is None else ("has_covid", "0 or 1, or true or false")
        problems.append(
            f"{_where(file, [row])}: {column} of {scan} is {row.values[column]!r}: no label. It may be {allowed}"
        )
        return ""
    if presence is None:
        return category or None
    if category and presence != (category != NON_COVID):
        problems.append(f"{_where(file, [row])}: {scan} is {category}, but has_covid is {row.values['has_covid']}")
        return ""
    return category or (UNKNOWN_SEVERITY if presence else NON_COVID)


def _category(text: str) -> str | None:
    """The label that a category means; empty for none, None if it is not known."""
    plain = _plain(text)
    if plain in _NOTHING:
        return ""
    if re.fullmatch(rf"[0-{len(CATEGORIES)}](\.0)?", plain):  # as in the paper's equations
        return LABELS[int(plain[0])]
    return plain if plain in ALL_LABELS else None


def _plain(text: str) -> str:
    return re.sub(r"[\s_]+", "-", text.lower())


def _agreed_fold(scan: str, rows: list[Row], file: Path, folds: int, problems: list[str]) -> int | str | None:
    splits = {_fold(row.values["split"], folds) for row in rows}
    if len(splits) > 1:
        words = in_words(sorted({row.values["split"] or "none" for row in rows}))
        problems.append(f"{_where(file, rows)}: {scan} is in the splits {words}: it is in no fold")
        return None
    split = splits.pop()
    if split is None:
        problems.append(
            f"{_where(file, rows)}: split of {scan} is {rows[0].values['split']!r}, not 0 to {folds - 1}, train, "
            "validation or test: it is in no fold"
        )
    return split


def _fold(text: str, folds: int) -> int | str | None:
    plain = _plain(text).removeprefix("fold-").removesuffix(".0")
    if plain.isdecimal() and int(plain) < folds:
        return int(plain)
    return _WORDS.get(plain)


class _ScanPaths:
    """Scans by path: the one that a path is or ends in, else by the same without regard to underscores and case.

    If there is none, the suffix of a file is ignored: `scans/a` is `scans/a.nii.gz`.
    """

    def __init__(self, scans: list[str]) -> None:
        self._exact = {scan: [scan] for scan in scans}
        self._loose: dict[str, list[str]] = defaultdict(list)
        self._bare: dict[str, list[str]] = defaultdict(list)
        for scan in scans:
            self._loose[self._key(scan)].append(scan)
            self._bare[self._bare_key(scan)].append(scan)

    def find(self, path: str) -> list[str]:
        """The scans that the path may mean."""
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
        for names, key in ((self._exact, str), (self._loose, self._key), (self._bare, self._bare_key)):
            for first in range(len(parts)):
                if found := names.get(key("/".join(parts[first:]))):
                    return found
        return []

    @staticmethod
    def _key(name: str) -> str:
        return re.sub(r"[\s_]+", "", name).lower()

    @classmethod
    def _bare_key(cls, name: str) -> str:
        folders, slash, last = name.rpartition("/")
        return cls._key(f"{folders}{slash}{stem(last)}")
