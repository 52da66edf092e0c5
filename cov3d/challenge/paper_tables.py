"""A table of the paper as CSV and Markdown, and the two tables that count scans (1, 2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cov3d.datasets.scan_table import PARTITIONS
from cov3d.files import write_text
from cov3d.labels import ALL_LABELS, NON_COVID, UNKNOWN_SEVERITY

DASH = "–"


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables.

    Attributes:
        name: name of its files, such as `table-5`.
        title: title of the table.
        frame: values for CSV; empty if unknown.
        head: names of the columns for readers.
        rows: cells for readers; a dash if unknown.
        notes: notes for readers.
        missing: missing results and how to make them.
    """

    name: str
    title: str
    frame: pd.DataFrame
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def as_markdown(self) -> str:
        """Title, table, notes and what is missing."""
        lines = [f"**{self.title}**", "", _line(self.head), _line("---" if n == 0 else "--:" for n in _places(self))]
        lines += [_line(row) for row in self.rows]
        lines += [line for note in self.notes for line in ("", note)]
        if self.missing:
            lines += ["", "Missing:", "", *(f"- {text}" for text in self.missing)]
        return "\n".join(lines) + "\n"


def _places(table: PaperTable) -> range:
    return range(len(table.head))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def save(table: PaperTable, folder: Path) -> None:
    """Write `<name>.csv` and `<name>.md`.

    Raises:
        OutputError: the folder can't be written.
    """
    write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n"))
    write_text(folder / f"{table.name}.md", table.as_markdown())


def counts_by_partition(scans: pd.DataFrame) -> PaperTable:
    """Table 1: number of scans of each label in each partition; scans without a label have their own row."""
    return _counts("table-1", "Table 1: scans by label and partition", scans["label"], _by_partition(scans))


def severities_by_partition(scans: pd.DataFrame) -> PaperTable:
    """Table 2: number of scans of each severity in each partition; only scans with a known severity count."""
    known = scans[~scans["label"].isin(["", NON_COVID, UNKNOWN_SEVERITY])]
    return _counts("table-2", "Table 2: scans by severity and partition", known["label"], _by_partition(known))


def _by_partition(scans: pd.DataFrame) -> dict[str, Any]:
    """For each partition that has scans, which scans are in it."""
    return {name: scans["partition"] == name for name in PARTITIONS if (scans["partition"] == name).any()}


def _counts(name: str, title: str, labels: pd.Series, columns: dict[str, Any]) -> PaperTable:
    columns = {**columns, "all": labels == labels}
    rows: list[dict[str, Any]] = []
    for label in (*ALL_LABELS, ""):
        of_label = labels == label
        if of_label.any():
            counts = {column: int((of_label & where).sum()) for column, where in columns.items()}
            rows.append({"label": label or "no label", **counts})
    rows.append({"label": "all", **{column: int(where.sum()) for column, where in columns.items()}})
    frame = pd.DataFrame(rows)
    notes = ("covid: positive, severity unknown.",) if (labels == "covid").any() else ()
    return PaperTable(name, title, frame, tuple(frame.columns), _as_text(rows), notes)


def _as_text(rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(value) for value in row.values()) for row in rows)
