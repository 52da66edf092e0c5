"""`folds`: a dataset's scan table; `phantom`: a synthetic dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.inputs import elsewhere, path_or_none
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.errors import Cov3dError
from cov3d.listener import SILENT, Listener
from cov3d.processors import default_jobs

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FoldsResult:
    """A scan table that was made.

    Attributes:
        table: a row a scan: `scan`, `partition`, `label` and `fold` (0 to 4, empty for test scans).
        file: where it was written.
        layout: name of the dataset's layout; None where it is none that is known.
        changes: what differs from the table that it replaced, in words; None where there was none.
        left_out: number of files and folders that look like scans and are not in the table.
        counts: how many scans, and of how many patients where they are known, in words.
    """

    table: "pd.DataFrame"
    file: Path
    layout: str | None
    changes: str | None
    left_out: int
    counts: str


def folds(
    data: str | Path = ".",
    *,
    table: str | Path | None = None,
    splits: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> FoldsResult:
    """Find a dataset's scans and labels, split them into five folds and write the scan table.

    Known layouts are those of `cov3d.datasets.layouts.LAYOUTS`; scans in any other are listed without labels. All scans
    of a patient are put into one fold, where the dataset names patients.

    Args:
        data: root folder of the dataset.
        table: file to write to; None for `scans.csv` in `data`.
        splits: a CSV file with the columns `path,split,has_covid,category`, to follow in place of the dataset's own
            labels and folds.
        seed: random seed of the folds.
        overwrite: replace a scan table that is there.
        listener: hears what is doubtful in the dataset.

    Raises:
        DatasetError: the dataset or the table of splits can't be read.
        OutputError: there is a scan table already and `overwrite` is not set, or it can't be written.
    """
    from cov3d.datasets import scan_table as tables
    from cov3d.errors import OutputError
    from cov3d.files import folder_lock

    data, table, splits = Path(data), path_or_none(table), path_or_none(splits)
    file = table or data / tables.FILE_NAME
    tables.check_root(data)
    with (
        elsewhere("--table", table),
        folder_lock(file.parent, "cov3d", "wait until it ends, or give another --table", removes=True),
    ):
        if file.exists() and not overwrite:
            raise OutputError(f"there is a scan table at {file} already: give --overwrite to replace it")
        built = tables.build(data, seed, splits, file)
        listener.warn_of_all(built.problems, most=None)
        changes = _changes(file, built.table) if file.exists() else None
        tables.save_built(built, file)
    return FoldsResult(built.table, file, built.layout, changes, warn_of_left_out(file, listener), built.counts)


def phantom(
    directory: str | Path,
    *,
    scans: int = 150,
    seed: int = 0,
    resolution: int = 512,
    layout: str = PhantomLayout.COV19CTDB,
    lesions: str = LesionSides.BOTH,
    masks: bool = False,
    jobs: int | None = None,
    listener: Listener = SILENT,
) -> "pd.DataFrame":
    """Write a synthetic chest-CT dataset in the layout of a real one, for trying and testing only.

    Args:
        directory: folder to write to; missing or empty, or one whose making was interrupted.
        scans: number of scans, at least 12.
        seed: another seed, other scans.
        resolution: pixels to a side of a slice, 32 to 1024.
        layout: the dataset whose layout it follows: `cov19ctdb`, `pharos`, `cc-ccii`, `stoic`, `mosmed` or
            `covid-ct-md`.
        lesions: the lungs of COVID scans that have lesions: `both`, `left`, `right` (the patient's), or `one-sided`:
            left in half of the scans, right in the others. If it is one lung, severe and critical lesions fill it
            almost completely, which is less than their usual share of both lungs.
        masks: also save the true masks of lungs and lesions.
        jobs: number of processes; None for the number of processors.
        listener: hears of progress.

    Returns:
        A row a scan: `scan`, `partition`, `label`, `severity` (the true class, empty for non-covid), `slices`,
        `involvement` (share of the lungs, 0 to 1), `lesion_side` (the lungs with lesions: both, left or right; empty
        for none).

    Raises:
        DatasetError: too few scans, or a resolution or seed that can't be.
        OutputError: the folder holds something else, or can't be written.
        Cov3dError: there is no such layout or choice of lesions.
    """
    from cov3d.files import folder_lock
    from cov3d.phantom import write_phantom

    directory = Path(directory)
    if layout not in tuple(PhantomLayout):
        raise Cov3dError(f"layout is one of {', '.join(PhantomLayout)}, not {layout!r}")
    if lesions not in tuple(LesionSides):
        raise Cov3dError(f"lesions is one of {', '.join(LesionSides)}, not {lesions!r}")
    written: list[str] = []
    with (
        folder_lock(directory, "cov3d phantom", "wait until it ends, or give another folder", removes=True),
        listener.progress("phantoms", scans) as advance,
    ):

        def on_scan(scan: str) -> None:
            written.append(scan)
            advance(len(written))

        return write_phantom(
            directory,
            n_scans=scans,
            seed=seed,
            resolution=resolution,
            masks=masks,
            layout=PhantomLayout(layout),
            lesions=LesionSides(lesions),
            jobs=default_jobs(jobs),
            on_scan=on_scan,
        )


def _changes(file: Path, table: "pd.DataFrame") -> str:
    """What differs between the table in `file` and the one that replaces it, in words."""
    from cov3d.datasets import scan_table as tables
    from cov3d.datasets.stale import compare_tables
    from cov3d.errors import DatasetError

    try:
        return compare_tables(tables.load(file, whole_patients=False), table)
    except DatasetError as error:
        return f"unknown, {error}"


def warn_of_left_out(table: Path, listener: Listener) -> int:
    """Warn of how much that looks like a scan is not in the scan table at `table`, and return the number."""
    from cov3d.readers.left_out import FILE_NAME, load_left_out

    left_out = load_left_out(table.parent / FILE_NAME)
    if left_out:
        likely = sum(left.is_scan for left in left_out)
        listener.warn(f"{len(left_out)} left out, {likely} of which look like scans: {table.parent / FILE_NAME}")
    return len(left_out)
