"""A table of submissions for the terminal."""

from collections.abc import Iterable

from rich import box
from rich.markup import escape
from rich.table import Table

from cov3d.challenge.submit import Written


def submission_table(written: Iterable[Written]) -> Table:
    """The members of each set of submission files, and the number of scans predicted as each class."""
    table = Table(title="Submissions", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("folder", "members", "folds", "networks", "predictions"):
        table.add_column(column, justify="right" if column == "networks" else "left", overflow="fold")
    for made in written:
        counts = ", ".join(f"{name.removesuffix('.csv')} {count}" for name, count in made.counts.items())
        folds = ", ".join(map(str, made.of.folds))
        table.add_row(made.of.place, escape(", ".join(made.of.members)), folds, str(made.networks), counts)
    return table
