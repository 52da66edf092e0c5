"""Commands on data: `phantom`, `folds`, `preprocess`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import typer
from torchapp import Param

from cov3d.api.inputs import store_folder as store_folder
from cov3d.app import options
from cov3d.app.console import Printer, out, say, say_error
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.errors import Cov3dError
from cov3d.preprocessing.sizes import Size
from cov3d.words import counted

if TYPE_CHECKING:
    import pandas as pd


def phantom(
    self: object,
    directory: Path = typer.Argument(..., help="Folder to write to; missing or empty."),
    scans: int = Param(150, min=1, help="Number of scans, all partitions together.", rich_help_panel="Dataset"),
    seed: int = Param(0, min=0, help="Random seed of the scans.", rich_help_panel="Dataset"),
    resolution: int = Param(
        512, min=64, max=1024, help="Width and height of a slice in pixels.", rich_help_panel="Dataset"
    ),
    layout: PhantomLayout = Param(
        PhantomLayout.COV19CTDB,
        help="The dataset whose layout it follows: cov19ctdb, pharos, cc-ccii (slices as JPEG), stoic (.mha), mosmed "
        "(.nii.gz) or covid-ct-md (slices as DICOM); the persons are the same.",
        rich_help_panel="Dataset",
    ),
    lesions: LesionSides = Param(
        LesionSides.BOTH,
        help="The lungs of COVID scans that have lesions: both, left, right (the patient's), or one-sided (left in "
        "half of them, right in the others). Severe and critical lesions fill one lung almost completely, which is "
        "less than their usual share of both.",
        rich_help_panel="Dataset",
    ),
    masks: bool = Param(False, help="Also write the true masks of lungs and lesions.", rich_help_panel=options.OUTPUT),
    jobs: int = options.jobs(),
) -> None:
    """Write a synthetic chest-CT dataset in the layout of a real one, for trying and testing only."""
    from cov3d.api import datasets

    written = datasets.phantom(
        directory,
        scans=scans,
        seed=seed,
        resolution=resolution,
        layout=layout,
        lesions=lesions,
        masks=masks,
        jobs=jobs,
        listener=Printer(),
    )
    say(f"{len(written)} synthetic scans ({written['slices'].sum()} slices) in {directory}")
    say("They are not CT of any person: what is measured on them says nothing about patients.")


def scan_table(
    self: object, data: Path = options.data(), table: Path = options.table(), strict: bool = options.strict()
) -> "pd.DataFrame":
    """The dataset's scan table, made and saved first where there is none, and compared with the dataset where it is."""
    from cov3d.api import inputs

    return inputs.scan_table(data, table, Printer(), strict=strict)


def check_fresh(data: Path, file: Path, table: "pd.DataFrame", *, strict: bool) -> None:
    """Warn of a scan table that does not fit the dataset any more.

    Raises:
        DatasetError: it does not, and `strict` is set.
    """
    from cov3d.api.inputs import warn_if_stale

    warn_if_stale(data, file, table, Printer(), strict=strict)


def folds(
    self: object,
    data: Path = options.data(),
    table: Path = options.table(),
    splits: Path = Param(
        None,
        help="A CSV file with the columns path,split,has_covid,category, to follow in place of the dataset's own "
        "labels and folds. path is a scan's, relative to the dataset's root, or ends in it; split is 0 "
        "(validation) to 4, or train, validation, test; has_covid is 0 or 1; category is a label (Mild, non-covid, …) "
        "or empty.",
        rich_help_panel=options.INPUT,
    ),
    seed: int = Param(0, min=0, help="Random seed of the folds.", rich_help_panel="Folds"),
    overwrite: bool = Param(False, help="Replace an existing scan table.", rich_help_panel=options.OUTPUT),
) -> None:
    """Find the dataset's scans and labels, split them into five folds and write the scan table.

    Known layouts: {layouts}. Scans in any other are listed without labels. All scans of a patient are put into one
    fold, where the dataset names patients.
    """
    from cov3d.api import datasets
    from cov3d.reports.tables import fold_table

    made = datasets.folds(data, table=table, splits=splits, seed=seed, overwrite=overwrite, listener=Printer())
    out().print(fold_table(made.table))
    if made.changes:
        say(f"compared with the table before: {made.changes}")
    layout = f"laid out as {made.layout}" if made.layout else "in no known layout"
    say(f"{made.counts}, {layout}: {made.file}")


def preprocess(
    self: object,
    size: Size = Param(Size.MEDIUM, help="Size that the crops are resized to.", rich_help_panel="Preprocessing"),
    overrides: Path = Param(
        None,
        help="Crop boxes set by hand: a CSV file with the columns scan,z0,z1,y0,y1,x0,x1.",
        show_default="DATA/overrides.csv, if there",
        rich_help_panel=options.INPUT,
    ),
    store: Path = options.store(),
    report: bool = Param(
        True, help="Make a page with pictures of every crop, to check by eye.", rich_help_panel=options.OUTPUT
    ),
    only_report: bool = Param(
        False,
        help="Only make the pictures again, from the store. Exit code 3 if labelled scans are not in it.",
        rich_help_panel=options.OUTPUT,
    ),
    jobs: int = options.jobs(),
    shard: str = options.shard(),
    dask: str = options.dask(),
    skip_errors: bool = options.skip_errors(),
    **kwargs: Unpack[options.ScanTableOptions],
) -> None:
    """Crop every scan of the dataset to its lungs, resize it and store it; what is stored already stays."""
    from cov3d.api import preprocessing
    from cov3d.api.crop_report import crop_report

    _refuse_contradictions(
        {
            "--only-report and --no-report": only_report and not report,
            "--only-report and --shard": only_report and shard is not None,
            "--only-report and --dask": only_report and dask is not None,
        }
    )
    if only_report:
        made_again = crop_report(size=size, store=store, listener=Printer(), **kwargs)
        if made_again.absent:
            raise typer.Exit(3)
        return
    made = preprocessing.preprocess(
        size=size,
        store=store,
        overrides=overrides,
        jobs=jobs,
        shard=shard,
        dask=dask,
        skip_errors=skip_errors,
        report=report,
        listener=Printer(),
        **kwargs,
    )
    say_failed(made.failed)


def _refuse_contradictions(given: dict[str, bool]) -> None:
    for pair, both in given.items():
        if both:
            raise Cov3dError(f"{pair} cannot be combined: give one of them")


def say_failed(failed: Mapping[str, str]) -> None:
    """List scans that failed and leave with exit code 3, if any did."""
    if failed:
        say_error(f"{counted(len(failed), 'scan')} could not be read:")
        for scan, error in failed.items():
            say_error(f"{scan}: {error}")
        raise typer.Exit(3)
