"""The command `report`: a page to look at runs by, and the paper's tables and figures from our own runs."""

from pathlib import Path
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, progress, say, say_some
from cov3d.app.data import check_fresh


def report(
    self: Any,
    runs: list[Path] = typer.Argument(
        None,
        help="What to report on: runs, what crossval collected, folders of predictions with labels, or folders of "
        "these. By default all in DATA/runs.",
    ),
    data: Path = Param(
        None,
        help="Root folder of the dataset.",
        show_default="the one that the runs lie in, or this folder",
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
) -> Any:
    """Make a page to look at runs by, report.html, and the paper's tables and figures from one's own runs.

    The page opens from disk in a browser: scores with intervals, curves, confusion matrices, calibration, the worst
    mistakes. What is not there yet is a dash in the tables, and listed.
    """
    from cov3d.datasets import scan_table as tables
    from cov3d.files import folder_lock
    from cov3d.reports import report as reports
    from cov3d.reports.sources import dataset_of, find_sources, sources_below
    from cov3d.results import check_free, staged

    given = runs or []
    root = data or dataset_of(given)
    sources = find_sources(given) if given else sources_below(root / "runs")
    file = table or root / tables.FILE_NAME
    scans = tables.load(file) if table or file.exists() else None
    if scans is not None:
        check_fresh(root, file, scans, strict=strict)
    reports.check_not_empty(sources, scans, root)
    folder = output_dir or root / "report"
    with options.elsewhere("--output-dir", output_dir), folder_lock(folder, "cov3d report", removes=True):
        check_free(folder, reports.RESULT_FILES, overwrite=True, what="a report")
        with progress("report", reports.steps(sources)) as advance, staged(folder, reports.RESULT_FILES) as to:
            made = reports.write_report(
                to,
                sources,
                scans=scans,
                data=root,
                stores=[store] if store else reports.stores_of(root),
                on_step=advance,
            )
    say_some(list(made.missing))
    if any(one.missing for one in made.tables):
        say("what our runs do not give is a dash in the tables; what is missing, and how to make it, stands below them")
    say(f"{len(made.tables)} tables and {len(made.figures)} figures in {folder}")
    say(f"look at {folder / reports.PAGE}")
    say(RESEARCH_ONLY)
    return made
