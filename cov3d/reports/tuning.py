"""A table of the trials of a hyper-parameter search for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from cov3d.reports.tables import number


def trial_table(rows: Sequence[Mapping[str, Any]], searched: Sequence[str], most: int = 10) -> Table:
    """The best trials, the best first. Trials without a score come last."""
    ranked = sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["number"]))
    title = "Trials" if len(rows) <= most else f"The best {most} of {len(rows)} trials"
    # No space between columns, so that the options searched by default fit into 80 characters.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    names = {"architecture": "net"}
    for column in ("#", "score", "pres.", "sev.", *(names.get(name, name) for name in searched)):
        table.add_column(column.replace("_", " "), justify="right")
    for row in ranked[:most]:
        score = row["state"] if row["score"] is None else f"[bold]{number(row['score'])}"
        scores = (number(row["presence_f1"]), number(row["severity_f1"]))
        values = ("–" if row[name] is None else str(row[name]) for name in searched)
        table.add_row(str(row["number"]), score, *scores, *values)
    return table
