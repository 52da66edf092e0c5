"""Write a report of runs and a dataset: the paper's tables (CSV, Markdown), figures (PNG, SVG), and a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cov3d.challenge import paper_results, paper_tables
from cov3d.challenge.experiments import experiments
from cov3d.challenge.paper_tables import PaperTable
from cov3d.challenge.runs import Runs
from cov3d.datasets.scan_table import FILE_NAME
from cov3d.errors import Cov3dError, DatasetError
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import MANIFEST, Store
from cov3d.reports import figures, paper_figures
from cov3d.reports.entries import ReportEntry, read_entry
from cov3d.reports.run_page import Preview, write_page
from cov3d.reports.sources import Source, SourceKind
from cov3d.run_files import run_options

_TABLES = ("table-1", "table-2", "table-5", "table-6", "table-7")
_FIGURES = ("figure-1", "figure-2")
PAGE = "report.html"
RESULT_FILES = (
    PAGE,
    *(f"{name}.{suffix}" for name in _TABLES for suffix in ("csv", "md")),
    *(f"{name}.{suffix}" for name in _FIGURES for suffix in ("png", "svg")),
)


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Attributes:
        tables: the paper's tables, in order. Each lists its own missing parts.
        figures: names of the paper's figures, in order.
        entries: the runs, cross-validations and predictions on the page.
        missing: one sentence for each part that could not be made or read.
    """

    tables: tuple[PaperTable, ...]
    figures: tuple[str, ...]
    entries: tuple[ReportEntry, ...]
    missing: tuple[str, ...]


def check_not_empty(sources: Sequence[Source], scans: pd.DataFrame | None, data: Path) -> None:
    """Check that there is something to report.

    Raises:
        DatasetError: there is neither a scan table nor a run.
    """
    if scans is None and not sources:
        raise DatasetError(
            f"{data} has neither a scan table (scans.csv) nor runs: give the dataset's root with --data, or runs"
        )


def stores_of(data: Path) -> list[Path]:
    """The folders of the stores of a dataset, the one with the most scans first, then by name."""
    found = sorted(file.parent for file in (data / "preprocessed").glob(f"*/{MANIFEST}"))
    return sorted(found, key=lambda store: -_lines(store / MANIFEST))


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for _ in stream)


def steps(sources: Sequence[Source]) -> int:
    """The number of steps of `write_report`."""
    return len(experiments()) + 2 * len(sources)


def write_report(
    folder: Path,
    sources: Sequence[Source],
    *,
    scans: pd.DataFrame | None,
    data: Path,
    stores: Sequence[Path],
    on_step: Callable[[int], None] = lambda _: None,
) -> Report:
    """Write the report to `folder`, as the files `RESULT_FILES`.

    Args:
        folder: where to write.
        sources: the runs, cross-validations and predictions.
        scans: the dataset's scan table, if there is one.
        data: the dataset's root.
        stores: folders of its preprocessed volumes.
        on_step: called with the number of finished steps.

    Raises:
        OutputError: the folder can't be written.
    """
    runs, missing = _readable_runs(sources, data)
    drawn, lacking = _figures(scans, stores)
    counts = (
        [] if scans is None else [paper_tables.counts_by_partition(scans), paper_tables.severities_by_partition(scans)]
    )
    if scans is None:
        missing.append(f"Tables 1 and 2 need {data / FILE_NAME}: run cov3d folds")
    missing += lacking
    made = (
        *counts,
        paper_results.experiment_table(runs, on_step),
        paper_results.ensemble_table("presence", runs),
        paper_results.ensemble_table("severity", runs),
    )
    for table in made:
        paper_tables.save(table, folder)
    pictures = {}
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
        figures.save(figure, folder / f"{name}.svg")
        pictures[name] = (folder / f"{name}.png").read_bytes()
    entries = []
    before = len(experiments())
    for done, source in enumerate(sources, start=1):
        entries.append(read_entry(source))
        on_step(before + done)
    before += len(sources)
    write_page(folder / PAGE, entries, made, pictures, missing, _previews(stores), lambda done: on_step(before + done))
    return Report(made, tuple(drawn), tuple(entries), tuple(missing))


def _previews(stores: Sequence[Path]) -> Preview:
    """A function that finds pictures of crops: in the store of the given size, else in any other store."""

    def preview(scan: str, size: str) -> bytes | None:
        for folder in sorted(stores, key=lambda folder: folder.name != size):
            try:
                if (picture := Store(folder, Size.TINY).preview(scan)) is not None:
                    return picture
            except Cov3dError:
                continue  # try the next store, or show no picture
        return None

    return preview


def _readable_runs(sources: Sequence[Source], data: Path) -> tuple[Runs, list[str]]:
    """The runs whose options can be read, and the errors of the others."""
    readable, wrong = [], []
    for source in sources:
        if source.kind == SourceKind.RUN:
            try:
                run_options(source.folder)
                readable.append(source.folder)
            except Cov3dError as error:
                wrong.append(str(error))
    return Runs(data / "runs", data, readable), wrong


def _figures(scans: pd.DataFrame | None, stores: Sequence[Path]) -> tuple[dict[str, Figure], list[str]]:
    drawn: dict[str, Figure] = {}
    missing = []
    slices, why = _slices(scans, stores)
    if slices:
        drawn["figure-1"] = paper_figures.slices(slices)
    else:
        missing.append(f"Figure 1 (slices per scan): {why}")
    if scans is not None and (scans["label"] != "").any():
        drawn["figure-2"] = figures.folds(scans)
    else:
        missing.append("Figure 2 (labels by fold) needs a scan table with labels: run cov3d folds")
    return drawn, missing


def _slices(scans: pd.DataFrame | None, stores: Sequence[Path]) -> tuple[dict[str, list[int]], str]:
    """Number of slices of each scan by partition, from the first store's manifest; else empty, and the reason."""
    if not stores:
        return {}, "no scan is preprocessed: run cov3d preprocess, which counts the slices"
    file = stores[0] / MANIFEST
    try:
        manifest: Any = pd.read_csv(file, usecols=["scan", "slices_found"], keep_default_na=False)
        counts = manifest.set_index("scan")["slices_found"].astype(int)
    except (OSError, ValueError) as error:
        return {}, f"{file} can't be read: {error}"
    counts = counts[counts > 0]
    if scans is None:
        found = {"scans": counts.tolist()}
    else:
        partition = counts.index.map(scans.set_index("scan")["partition"])
        names = [name for name in paper_tables.PARTITIONS if (partition == name).any()]
        found = {name: counts[partition == name].tolist() for name in names}
    found = {name: values for name, values in found.items() if values}
    return found, "" if found else f"{file} has no scan of the scan table"
