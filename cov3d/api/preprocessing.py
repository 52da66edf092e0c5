"""`preprocess`: a dataset's scans → the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.crop_report import make_report
from cov3d.api.datasets import warn_of_left_out
from cov3d.api.inputs import as_size, elsewhere, path_or_none, scan_table, skipping_named, store_folder
from cov3d.errors import Cov3dError
from cov3d.listener import SILENT, Listener
from cov3d.preprocessing.sizes import Size
from cov3d.processors import default_jobs
from cov3d.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from cov3d.preprocessing.batch import Outcome
    from cov3d.preprocessing.overrides import Override
    from cov3d.preprocessing.store import Store

_THEN = "what was done is kept, and the same command continues from here"
_WHEN_ALL_ARE_DONE = (
    "when every share is done, show the crops of all: the same command with --only-report, without --shard"
)


@dataclass(frozen=True)
class PreprocessingResult:
    """What a call of `preprocess` did.

    Attributes:
        store: folder of the preprocessed volumes.
        size: of the volumes.
        manifest: a row for each scan of this call that is in the store: its name, number of slices, crop box (voxels),
            kind of crop, share of lung and notes; the columns of `manifest.csv`.
        done: names of the scans that were preprocessed now.
        present: names of those that were in the store already.
        failed: what is wrong with the scans that could not be read, by name; only with `skip_errors`.
        left_out: number of files and folders that look like scans and are not in the scan table.
        doubtful: number of crops in the store to check by eye; None without a report.
        page: the page with pictures of every crop; None without a report.
    """

    store: Path
    size: Size
    manifest: "pd.DataFrame"
    done: tuple[str, ...]
    present: tuple[str, ...]
    failed: Mapping[str, str]
    left_out: int
    doubtful: int | None = None
    page: Path | None = None


def preprocess(
    data: str | Path = ".",
    *,
    size: str = Size.MEDIUM,
    store: str | Path | None = None,
    table: str | Path | None = None,
    overrides: str | Path | None = None,
    jobs: int | None = None,
    shard: str | None = None,
    dask: str | None = None,
    skip_errors: bool = False,
    report: bool = True,
    strict: bool = False,
    listener: Listener = SILENT,
) -> PreprocessingResult:
    """Crop every scan of a dataset to its lungs, resize it and store it; what is stored already stays.

    Args:
        data: root folder of the dataset.
        size: of the volumes, `tiny`, `small`, `medium` or `large`: (depth, height, width) of 32 x 64 x 64,
            64 x 128 x 128, 256 x 176 x 256 or 320 x 224 x 320 voxels.
        store: folder of the preprocessed volumes; None for `preprocessed/SIZE` in `data`.
        table: the scan table; None for `scans.csv` in `data`. It is made where it is missing.
        overrides: crop boxes given by a person, a CSV file with the columns `scan,z0,z1,y0,y1,x0,x1`, half-open, in
            voxels of the scan as read; None for `overrides.csv` in `data`, where there is one.
        jobs: number of processes; None for the number of processors. Not with `dask`.
        shard: `3/64` for the third of 64 shares of the scans; None for all scans.
        dask: address of the scheduler of a Dask cluster that does the work instead.
        skip_errors: continue past scans that can't be read; they are in the result's `failed`.
        report: end with pictures of every crop, to check by eye; with `shard` there are none.
        strict: a scan table that does not fit the dataset any more is an error instead of a warning.
        listener: hears of progress and of scans with notes.

    Raises:
        DatasetError: the dataset, its scan table or the overrides can't be read.
        ScanError: a scan can't be read. What was done by then is in the store.
        StoreError: the store was made with other settings.
        ClusterError: the Dask cluster can't be reached, or is lost.
        OutputError: the store can't be written.
        Cov3dError: there is no such size or share, or both `jobs` and `dask` are given.
    """
    from cov3d.datasets.scan_table import FILE_NAME
    from cov3d.preprocessing.batch import select_share
    from cov3d.preprocessing.store import MANIFEST, Store

    size, data, store, table = as_size(size), Path(data), path_or_none(store), path_or_none(table)
    if dask is not None and jobs is not None:
        raise Cov3dError("--dask and --jobs cannot be combined: give one of them")
    number, of = (1, 1) if shard is None else parse_shard(shard)
    known = scan_table(data, table, listener, strict=strict)
    boxes = _boxes(data, path_or_none(overrides), set(known["scan"]), listener)
    with elsewhere("--store", store):
        opened = Store.create(store_folder(data, store, size), size)
    scans = {scan: data / scan for scan in select_share(known["scan"], number, of)}
    how = _PreprocessOptions(boxes, default_jobs(jobs), dask, skip_errors)
    outcome, manifest = _fill(opened, scans, how, listener)
    share = "" if shard is None else f"share {number} of {of}: "
    listener.say(
        f"{share}{counted(len(outcome.done), 'scan')} preprocessed, {len(outcome.present)} already there: "
        f"{opened.folder / MANIFEST}"
    )
    left_out = warn_of_left_out(table or data / FILE_NAME, listener)
    made = None
    if report and shard is None:
        made = make_report(opened, scans, outcome.failed, listener)
    elif report:
        listener.say(_WHEN_ALL_ARE_DONE)
    return PreprocessingResult(
        store=opened.folder,
        size=size,
        manifest=manifest,
        done=tuple(outcome.done),
        present=tuple(outcome.present),
        failed=dict(outcome.failed),
        left_out=left_out,
        doubtful=None if made is None else made.n_doubtful,
        page=None if made is None else made.page,
    )


@dataclass(frozen=True)
class _PreprocessOptions:
    """How scans are preprocessed; the names are those of `preprocess_scans`."""

    overrides: Mapping[str, "Override"]
    jobs: int
    dask: str | None
    skip_errors: bool


def _boxes(data: Path, file: Path | None, scans: set[str], listener: Listener) -> Mapping[str, "Override"]:
    """The boxes given by a person, by scan: of `file`, or of the dataset's own overrides file where there is one."""
    from cov3d.preprocessing import overrides

    default = data / overrides.FILE_NAME
    if file is None and not default.exists():
        return {}
    found = overrides.load(file or default, scans)
    if found:
        listener.say(f"{len(found)} crop box{'es' * (len(found) > 1)} given by a person: {file or default}")
    return found


def _fill(
    store: "Store", scans: dict[str, Path], how: _PreprocessOptions, listener: Listener
) -> tuple["Outcome", "pd.DataFrame"]:
    """Preprocess `scans` (path by name) into `store`, and write the manifest however it ends.

    Returns:
        The outcome of the batch, and the rows of the manifest of these scans.
    """
    from cov3d.preprocessing.batch import preprocess_scans

    with (
        skipping_named(scans, skip_errors=how.skip_errors),
        listener.stoppable(_THEN),
        listener.progress(f"preprocessing, {store.size}", len(scans)) as advance,
    ):
        try:
            outcome = preprocess_scans(
                scans,
                store,
                overrides=how.overrides,
                jobs=how.jobs,
                dask=how.dask,
                skip_errors=how.skip_errors,
                on_scan=lambda so_far: advance(_count(so_far), _note(so_far)),
            )
        finally:
            manifest = store.write_manifest()
    manifest = manifest[manifest["scan"].isin(scans)].reset_index(drop=True)
    _tell_notes(manifest, listener)
    if outcome.lost:
        listener.warn(f"workers were killed {outcome.lost} times, most often for lack of memory: give fewer --jobs")
    return outcome, manifest


def _count(outcome: "Outcome") -> int:
    return len(outcome.present) + len(outcome.done) + len(outcome.failed)


def _note(outcome: "Outcome") -> str:
    """What stands beside the progress bar."""
    notes = {
        f"{len(outcome.failed)} failed": outcome.failed,
        f"workers lost: {outcome.lost}": outcome.lost,
        "no workers yet": not outcome.workers,
    }
    return ", ".join(note for note, true in notes.items() if true)


def _tell_notes(manifest: "pd.DataFrame", listener: Listener) -> None:
    """Warn of the scans that have notes, and count those without lungs."""
    noted = manifest[(manifest["notes"] != "") & (manifest["crop"] != "override")]
    listener.warn_of_all([f"{row.scan}: {row.notes}" for row in noted.itertuples()])
    fallback = int((manifest["crop"] == "fallback").sum())
    if len(noted):
        listener.say(f"{len(noted)} of {len(manifest)} scans have notes; in {fallback} no lungs were found")


def parse_shard(text: str) -> tuple[int, int]:
    """The number of a share, from 1, and of how many.

    Raises:
        Cov3dError: it is written in another way, or there is no such share.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(of)):
        raise Cov3dError(f"--shard is a share and their number, such as 3/64, not {text!r}")
    if not 1 <= int(number) <= int(of):
        raise Cov3dError(f"--shard {text}: shares are numbered from 1 to {of} (in a Slurm array: --array=1-{of})")
    return int(number), int(of)
