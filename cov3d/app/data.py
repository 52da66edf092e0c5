"""Commands on data: `phantom`, `folds`, `preprocess`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import out, progress, say, say_error, say_some, say_warning, stoppable
from cov3d.datasets.names import PhantomLayout
from cov3d.errors import Cov3dError
from cov3d.preprocessing.sizes import Size


def phantom(
    self: Any,
    directory: Path = typer.Argument(..., help="Folder to write to; missing or empty."),
    scans: int = Param(150, min=1, help="Number of scans, all partitions together.", rich_help_panel="Dataset"),
    seed: int = Param(0, min=0, help="Another seed, other scans.", rich_help_panel="Dataset"),
    resolution: int = Param(512, min=64, max=1024, help="Pixels to a side of a slice.", rich_help_panel="Dataset"),
    layout: PhantomLayout = Param(
        PhantomLayout.COV19CTDB,
        help="The dataset whose layout it follows: cov19ctdb (slices as JPEG), stoic (.mha) or mosmed (.nii.gz); the "
        "persons are the same.",
        rich_help_panel="Dataset",
    ),
    masks: bool = Param(False, help="Also save the true masks of lungs and lesions.", rich_help_panel=options.OUTPUT),
    jobs: int = options.jobs(),
) -> None:
    """Write a synthetic chest-CT dataset in the layout of a real one, for trying and testing only."""
    from cov3d.files import folder_lock
    from cov3d.phantom import write_phantom

    with (
        folder_lock(directory, "cov3d phantom", "wait for it, or give another folder", removes=True),
        progress("phantoms", scans) as advance,
    ):
        done: list[str] = []

        def on_scan(scan: str) -> None:
            done.append(scan)
            advance(len(done))

        written = write_phantom(
            directory,
            n_scans=scans,
            seed=seed,
            resolution=resolution,
            masks=masks,
            layout=layout,
            jobs=options.default_jobs(jobs),
            on_scan=on_scan,
        )
    say(f"{len(written)} synthetic scans ({written['slices'].sum()} slices) in {directory}")
    say("They are not CT of any person: what is measured on them says nothing about patients.")


def scan_table(
    self: Any, data: Path = options.data(), table: Path = options.table(), strict: bool = options.strict()
) -> Any:
    """The dataset's scan table, made and saved first where there is none, and compared with the dataset where it is."""
    from cov3d.datasets import scan_table as tables

    file = table or data / tables.FILE_NAME
    with options.elsewhere("--table", table):
        found, problems = tables.load_or_build(data, file, seed=0)
    if problems is None:
        check_fresh(data, file, found, strict=strict)
    else:
        say_some(problems, most=None)
        say(f"made the scan table {file} ({len(found)} scans)")
    return found


def check_fresh(data: Path, file: Path, table: Any, *, strict: bool) -> None:
    """Warn of a scan table that does not fit the dataset any more.

    Raises:
        DatasetError: it does not, and `strict` is set.
    """
    from cov3d.datasets.stale import stale_sentence
    from cov3d.errors import DatasetError

    sentence = stale_sentence(data, file, table)
    if sentence and strict:
        raise DatasetError(sentence)
    if sentence:
        say_warning(sentence)


def folds(
    self: Any,
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
    overwrite: bool = Param(False, help="Replace a scan table that is there.", rich_help_panel=options.OUTPUT),
) -> None:
    """Find the dataset's scans and labels, split them into five folds and write the scan table.

    Known layouts: COV19-CT-DB (2022, 2023), STOIC2021, MosMedData. Scans in any other are listed without labels.
    """
    from cov3d.datasets import scan_table as tables
    from cov3d.errors import OutputError
    from cov3d.files import folder_lock
    from cov3d.reports.tables import fold_table

    file = table or data / tables.FILE_NAME
    tables.check_root(data)
    with (
        options.elsewhere("--table", table),
        folder_lock(file.parent, "cov3d", "wait for it, or give another --table", removes=True),
    ):
        if file.exists() and not overwrite:
            raise OutputError(f"there is a scan table at {file} already: give --overwrite to make it again")
        built = tables.build(data, seed, splits)
        say_some(built.problems, most=None)
        changes = _changes(file, built.table) if file.exists() else None
        tables.save_built(built, file)
    out().print(fold_table(built.table))
    if changes:
        say(f"compared with the table before: {changes}")
    say(f"{len(built.table)} scans, laid out as {built.layout or 'no dataset that is known'}: {file}")
    _say_left_out(file)


def _say_left_out(table: Path) -> None:
    """Warn of how much that looks like a scan is not in a scan table."""
    from cov3d.readers.left_out import FILE_NAME, load_left_out

    if left_out := load_left_out(table.parent / FILE_NAME):
        likely = sum(left.is_scan for left in left_out)
        say_warning(f"{len(left_out)} left out, {likely} of which look like scans: {table.parent / FILE_NAME}")


def _changes(file: Path, table: Any) -> str:
    """What differs between the table in `file` and the one that replaces it, in words."""
    from cov3d.datasets import scan_table as tables
    from cov3d.datasets.stale import compare_tables
    from cov3d.errors import DatasetError

    try:
        return compare_tables(tables.load(file), table)
    except DatasetError as error:
        return f"unknown, {error}"


def store_folder(data: Path, store: Path | None, size: Size) -> Path:
    """Where the store is, given or by default."""
    return store or data / "preprocessed" / size.value


def preprocess(
    self: Any,
    size: Size = Param(Size.MEDIUM, help="Size that the crops are resized to.", rich_help_panel="Preprocessing"),
    overrides: Path = Param(
        None,
        help="Crop boxes given by a person: a CSV file with the columns scan,z0,z1,y0,y1,x0,x1.",
        show_default="DATA/overrides.csv, if there",
        rich_help_panel=options.INPUT,
    ),
    store: Path = options.store(),
    report: bool = Param(
        True, help="End with pictures of every crop, to check by eye.", rich_help_panel=options.OUTPUT
    ),
    only_report: bool = Param(
        False, help="Only make the pictures again, from the store; no scan is read.", rich_help_panel=options.OUTPUT
    ),
    jobs: int = options.jobs(),
    shard: str = options.shard(),
    dask: str = options.dask(),
    skip_errors: bool = options.skip_errors(),
    **kwargs: Any,
) -> None:
    """Crop every scan of the dataset to its lungs, resize it and store it; what is stored already stays."""
    from cov3d.datasets.scan_table import FILE_NAME
    from cov3d.preprocessing.batch import select_share
    from cov3d.preprocessing.store import MANIFEST, Store

    _refuse_contradictions(
        {
            "--only-report and --no-report": only_report and not report,
            "--only-report and --shard": only_report and shard is not None,
            "--only-report and --dask": only_report and dask is not None,
            "--dask and --jobs": dask is not None and jobs is not None,
        }
    )
    number, of = (1, 1) if shard is None else options.parse_shard(shard)
    data: Path = kwargs["data"]
    folder = store_folder(data, store, size)
    if only_report:
        opened = Store.open(folder, size)
        opened.write_manifest()
        crop_report(opened, _scans_known(**kwargs))
        return
    table = self.scan_table(**kwargs)
    boxes = load_overrides(data, overrides, set(table["scan"]))
    with options.elsewhere("--store", store):
        opened = Store.create(folder, size)
    scans = {scan: data / scan for scan in select_share(table["scan"], number, of)}
    outcome = fill_store(
        opened, scans, overrides=boxes, jobs=options.default_jobs(jobs), dask=dask, skip_errors=skip_errors
    )
    share = "" if shard is None else f"share {number} of {of}: "
    say(f"{share}{len(outcome.done)} scans preprocessed, {len(outcome.present)} were there: {opened.folder / MANIFEST}")
    _say_left_out(kwargs["table"] or data / FILE_NAME)
    if report and shard is None:
        crop_report(opened, scans, outcome.failed)
    elif report:
        say("when every share is done, show the crops of all: the same command with --only-report, without --shard")
    say_failed(outcome.failed)


def _refuse_contradictions(given: dict[str, bool]) -> None:
    for pair, both in given.items():
        if both:
            raise Cov3dError(f"{pair} contradict each other: give one of them")


def fill_store(store: Any, scans: dict[str, Path], **how: Any) -> Any:
    """Preprocess `scans` (path by name) into `store`, with a progress bar, and write the manifest however it ends.

    Args:
        how: as `preprocess_scans` takes it.

    Returns:
        The outcome of the batch.
    """
    from cov3d.preprocessing.batch import Outcome, preprocess_scans

    with (
        stoppable("what was done is kept, and the same command goes on from here"),
        progress(f"preprocessing, {store.size}", len(scans)) as advance,
    ):

        def on_scan(outcome: Outcome) -> None:
            notes = {
                f"{len(outcome.failed)} failed": outcome.failed,
                f"workers lost: {outcome.lost}": outcome.lost,
                "no workers yet": not outcome.workers,
            }
            said = ", ".join(note for note, true in notes.items() if true)
            advance(len(outcome.present) + len(outcome.done) + len(outcome.failed), said)

        try:
            outcome = preprocess_scans(scans, store, on_scan=on_scan, **how)
        finally:
            manifest = store.write_manifest()
    _say_crops(manifest[manifest["scan"].isin(scans)])
    if outcome.lost:
        say_warning(f"workers were killed {outcome.lost} times, most often for want of memory: give fewer --jobs")
    return outcome


def load_overrides(data: Path, file: Path | None, scans: set[str]) -> Any:
    """The boxes given by a person, by scan: of `file`, or of the dataset's own overrides file where there is one."""
    from cov3d.preprocessing import overrides

    default = data / overrides.FILE_NAME
    if file is None and not default.exists():
        return {}
    found = overrides.load(file or default, scans)
    if found:
        say(f"{len(found)} crop box{'es' * (len(found) > 1)} given by a person: {file or default}")
    return found


def _scans_known(data: Path, table: Path | None, strict: bool) -> list[str]:
    """The dataset's scans by its scan table, if it has one; a report needs none."""
    from cov3d.datasets import scan_table as tables

    file = table or data / tables.FILE_NAME
    if not (table or file.exists()):
        return []
    found = tables.load(file)
    check_fresh(data, file, found, strict=strict)
    return list(found["scan"])


def crop_report(store: Any, scans: Iterable[str], failed: Mapping[str, str] = MappingProxyType({})) -> None:
    """Make the pictures of all crops in `store`, and say how many to look at and where.

    Args:
        scans: the dataset's scans; those that are not in the store are listed.
        failed: what was wrong with some of them, by scan.
    """
    from cov3d.reports.crops import write_report

    absent = {scan: "it is not in the store yet" for scan in scans if not store.has(scan)}
    made = write_report(store, {**absent, **failed})
    crops = "crop" if made.n_scans == 1 else "crops"
    say(f"{made.n_doubtful} of {made.n_scans} {crops} to check: look at {made.page}")


def _say_crops(manifest: Any) -> None:
    """Say which scans have notes, and count those without lungs."""
    noted = manifest[(manifest["notes"] != "") & (manifest["crop"] != "override")]
    say_some([f"{row.scan}: {row.notes}" for row in noted.itertuples()])
    fallback = int((manifest["crop"] == "fallback").sum())
    if len(noted):
        say(f"{len(noted)} of {len(manifest)} scans have notes; in {fallback} no lungs were found")


def say_failed(failed: dict[str, str]) -> None:
    """List scans that failed and leave with exit code 3, if any did."""
    if failed:
        say_error(f"{len(failed)} scans could not be read:")
        for scan, error in failed.items():
            say_error(f"{scan}: {error}")
        raise typer.Exit(3)
