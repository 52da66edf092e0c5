"""Does a scan table still fit the dataset? Scans that came or went, labels and centres that were corrected.

Class folders are listed and files of labels are read; the folders of scans that are in the table are not opened. What a
person edited in the table is no difference, and neither is what can't be compared: where only the preprocessed store
is, without raw scans, or a file of labels is missing, or a table made by hand stands in a folder of no known layout.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from cov3d.command_words import command
from cov3d.datasets.layouts import layout_of, search
from cov3d.datasets.origin import Origin, digest_of, read_origin
from cov3d.datasets.scan_table import CENTRE, FILE_NAME
from cov3d.errors import Cov3dError

_NAMED = 3


@dataclass(frozen=True)
class Changes:
    """What differs between two states of a dataset: names of scans; labels and centres (before, after) by scan."""

    added: tuple[str, ...]
    gone: tuple[str, ...]
    relabelled: Mapping[str, tuple[str, str]]
    moved: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def words(self) -> list[str]:
        """What differs, with the first names of each kind."""
        labels, centres = (
            [f"{scan}: {old or 'none'}, now {new or 'none'}" for scan, (old, new) in changed.items()]
            for changed in (self.relabelled, self.moved)
        )
        kinds = (
            ("new", self.added),
            ("gone", self.gone),
            ("with another label", labels),
            ("of another centre", centres),
        )
        return [f"{_count(len(names))} {kind} ({_first(names)})" for kind, names in kinds if names]


def stale_sentence(root: Path, file: Path, table: pd.DataFrame) -> str | None:
    """What differs between the scan table in `file` and the dataset at `root`, and what to run; None for nothing.

    Args:
        table: the scan table as loaded.
    """
    origin = read_origin(file)
    try:
        changes = _compare(root, origin, _by_scan(table, "label"), _by_scan(table, CENTRE))
        differs = changes.words() if changes else []
        if origin and origin.splits and Path(origin.splits).is_file():
            changed = digest_of(Path(origin.splits)) != origin.splits_digest
            differs += [f"the table of splits {origin.splits} was changed"] * changed
        edited = origin is not None and digest_of(file) != origin.table_digest
    except Cov3dError as error:
        return f"{file} can't be compared with the dataset: {error}"
    if not differs:
        return None
    lost = " (manual changes in it are lost)" if edited else ""
    command = _command(root, file, origin)
    if origin is None:
        unless = "Unless you made it by hand, make it again"
        return f"{file} does not fit the dataset: {', '.join(differs)}. {unless}: {command}"
    return f"{file} does not fit the dataset any more: {', '.join(differs)}. Make it again{lost}: {command}"


def _by_scan(table: pd.DataFrame, column: str) -> dict[str, str]:
    """A column by scan; empty strings where the table has none."""
    values = table[column] if column in table else [""] * len(table)
    return dict(zip(table["scan"], values, strict=True))


def _compare(root: Path, origin: Origin | None, table: Mapping[str, str], centres: Mapping[str, str]) -> Changes | None:
    """What came, went or changed in the dataset since the table was made, and is not in the table; None if unknown."""
    by_layout = origin is None or origin.layout is not None
    if not root.is_dir() or (by_layout and layout_of(root) is None):
        return None
    then = table if origin is None else origin.labels
    _, found = search(root, _without_scans_below({*then, *table}, root))
    if not found.scans:
        return None
    now = {scan: label for scan, (_, label) in found.scans.items()}
    return Changes(
        added=tuple(scan for scan in sorted(now.keys() - then.keys()) if scan not in table),
        gone=tuple(scan for scan in sorted(then.keys() - now.keys()) if scan in table),
        relabelled={
            scan: (table[scan], now[scan])
            for scan in sorted(then.keys() & now.keys() & table.keys())
            if now[scan] not in (then[scan], table[scan]) and scan not in found.without_file
        },
        moved={
            scan: (centres[scan], found.centres[scan])
            for scan in sorted(found.centres.keys() & then.keys() & centres.keys())
            if found.centres[scan] not in (centres[scan], "" if origin is None else origin.centres.get(scan, ""))
        },
    )


def _without_scans_below(scans: Collection[str], root: Path) -> frozenset[Path]:
    """The folders of scans that hold no other scan."""
    above = {parent for scan in scans for parent in _parents(scan)}
    return frozenset(root / scan for scan in scans if scan not in above)


def _parents(scan: str) -> Iterable[str]:
    while "/" in scan:
        scan = scan.rpartition("/")[0]
        yield scan


def _command(root: Path, file: Path, origin: Origin | None) -> str:
    return command(
        "folds",
        data=root,
        table=None if file == root / FILE_NAME else file,
        seed=(origin and origin.seed) or None,
        splits=(origin and origin.splits) or None,
        overwrite=True,
    )


def compare_tables(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """What differs between two scan tables of a dataset, in words; how many scans moved to another fold, first."""
    (old, old_centres), (new, new_centres) = (
        (_by_scan(table, "label"), _by_scan(table, CENTRE)) for table in (before, after)
    )
    folds = [dict(zip(table["scan"], table["fold"].fillna(-1), strict=True)) for table in (before, after)]
    both = [scan for scan in new if scan in old]
    moved = [scan for scan in both if folds[0][scan] != folds[1][scan]]
    changes = Changes(
        added=tuple(scan for scan in new if scan not in old),
        gone=tuple(scan for scan in old if scan not in new),
        relabelled={scan: (old[scan], new[scan]) for scan in both if old[scan] != new[scan]},
        moved={scan: (old_centres[scan], new_centres[scan]) for scan in both if old_centres[scan] != new_centres[scan]},
    )
    in_words = f"{len(moved)} of {len(both)} scans moved to another fold" + (f" ({_first(moved)})" if moved else "")
    return ", ".join([in_words, *changes.words()])


def _count(number: int) -> str:
    return f"{number} scan{'s' * (number != 1)}"


def _first(names: Collection[str]) -> str:
    first = list(names)[:_NAMED]
    return "; ".join(first) + ("; …" if len(names) > _NAMED else "")
