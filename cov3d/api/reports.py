"""What `cov3d report` does: a page to look at runs by, and the paper's tables and figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.inputs import elsewhere, path_or_none, warn_if_stale
from cov3d.datasets import scan_table as tables
from cov3d.files import folder_lock
from cov3d.listener import SILENT, Listener
from cov3d.reports import report as reports
from cov3d.reports.report import Report
from cov3d.reports.sources import dataset_of, find_sources, sources_below
from cov3d.results import check_free, staged

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReportResult:
    """A report that was made.

    Attributes:
        made: what is in it, and what is missing.
        folder: of its files.
        page: to open in a browser.
    """

    made: Report
    folder: Path
    page: Path


def report(
    runs: Iterable[str | Path] = (),
    *,
    data: str | Path | None = None,
    table: str | Path | None = None,
    strict: bool = False,
    store: str | Path | None = None,
    output_dir: str | Path | None = None,
    listener: Listener = SILENT,
) -> ReportResult:
    """Make `report.html`, and the paper's tables and figures from one's own runs.

    Args:
        runs: folders of runs, cross-validations or labelled predictions, or folders of these; by default all in
            `runs` in `data`.
        data: root folder of the dataset; by default the folder of the runs, or the current folder.
        table: the scan table; by default `scans.csv` in `data`, if it is there.
        strict: whether a scan table that does not fit the dataset any more is an error.
        store: folder of the preprocessed volumes; by default those in `preprocessed` in `data`.
        output_dir: folder of the report, in which an earlier one is replaced; by default `report` in `data`.
        listener: hears how far it is, and what could not be made.

    Raises:
        PredictionsError: a folder holds nothing to report on. DatasetError: there is neither a scan table nor a run.
        OutputError: the folder can't be written.
    """
    given = [Path(run) for run in runs]
    root = path_or_none(data) or dataset_of(given)
    sources = find_sources(given) if given else sources_below(root / "runs")
    scans = _known_scans(root, path_or_none(table), listener, strict=strict)
    reports.check_not_empty(sources, scans, root)
    folder = Path(output_dir or root / "report")
    with elsewhere("--output-dir", output_dir), folder_lock(folder, "cov3d report", removes=True):
        check_free(folder, reports.RESULT_FILES, overwrite=True, what="a report")
        steps = reports.steps(sources)
        with listener.progress("report", steps) as advance, staged(folder, reports.RESULT_FILES) as to:
            made = reports.write_report(
                to,
                sources,
                scans=scans,
                data=root,
                stores=[Path(store)] if store else reports.stores_of(root),
                on_step=advance,
            )
    listener.warn_of_all(made.missing)
    return ReportResult(made, folder, folder / reports.PAGE)


def _known_scans(root: Path, table: Path | None, listener: Listener, *, strict: bool) -> "pd.DataFrame | None":
    """The scan table, if there is one; a report needs none."""
    file = table or root / tables.FILE_NAME
    if not (table or file.exists()):
        return None
    scans = tables.load(file)
    warn_if_stale(root, file, scans, listener, strict=strict)
    return scans
