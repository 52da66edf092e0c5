"""The command `report`: a page to look at runs by, and the paper's tables and figures from our own runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, say

if TYPE_CHECKING:
    from cov3d.reports.report import Report


def report(
    self: object,
    runs: list[Path] = typer.Argument(
        None,
        help="What to report on: runs, what crossval collected, folders of predictions with labels, or folders of "
        "these. By default all in DATA/runs.",
    ),
    data: Path = Param(
        None,
        help="Root folder of the dataset.",
        show_default="the folder of the runs, or the current folder",
        rich_help_panel=options.INPUT,
    ),
    table: Path = options.table(),
    strict: bool = options.strict(),
    store: Path = Param(
        None,
        help="Folder of the preprocessed volumes, for pictures and numbers of slices.",
        show_default="those in DATA/preprocessed",
        rich_help_panel=options.INPUT,
    ),
    output_dir: Path = Param(
        None,
        help="Folder of the report; an earlier one in it is replaced.",
        show_default="DATA/report",
        rich_help_panel=options.OUTPUT,
    ),
) -> "Report":
    """Make a page to look at runs by, report.html, and the paper's tables and figures from one's own runs.

    The page opens from disk in a browser: scores with intervals, curves, confusion matrices, calibration, the worst
    mistakes. What is not there yet is a dash in the tables, and listed.
    """
    from cov3d.api import reports

    result = reports.report(
        runs or [], data=data, table=table, strict=strict, store=store, output_dir=output_dir, listener=Printer()
    )
    made = result.made
    if any(one.missing for one in made.tables):
        say(
            "a dash in a table is a result that the runs do not have; what is missing, and how to make it, is "
            "below the tables"
        )
    say(f"{len(made.tables)} tables and {len(made.figures)} figures in {result.folder}")
    say(f"look at {result.page}")
    say(RESEARCH_ONLY)
    return made
