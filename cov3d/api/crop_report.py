"""`crop_report`: the store → pictures of every crop."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.inputs import as_size, path_or_none, store_folder, warn_if_stale
from cov3d.listener import SILENT, Listener
from cov3d.preprocessing.sizes import Size
from cov3d.words import counted

if TYPE_CHECKING:
    from cov3d.preprocessing.store import Store
    from cov3d.reports.crops import CropReport


def crop_report(
    data: str | Path = ".",
    *,
    size: str = Size.MEDIUM,
    store: str | Path | None = None,
    table: str | Path | None = None,
    strict: bool = False,
    listener: Listener = SILENT,
) -> "CropReport":
    """Make the pictures of every crop in a store again; no scan is read.

    Args:
        data: root folder of the dataset.
        size: of the volumes: `tiny`, `small`, `medium` or `large`.
        store: folder of the preprocessed volumes; None for `preprocessed/SIZE` in `data`.
        table: the scan table; None for `scans.csv` in `data`. Its scans that are not in the store are listed.
        strict: a scan table that does not fit the dataset any more is an error instead of a warning.
        listener: hears of a table that does not fit, and of the result.

    Returns:
        The page and the contact sheets, the number of crops and of those to check by eye, and the labelled scans that
        are not in the store.

    Raises:
        DatasetError: the scan table can't be read.
        StoreError: there is no store, or it was made with other settings.
        OutputError: the pictures can't be written.
        Cov3dError: there is no such size.
    """
    from cov3d.datasets import scan_table as tables
    from cov3d.preprocessing.store import Store

    size, data, table = as_size(size), Path(data), path_or_none(table)
    opened = Store.open(store_folder(data, path_or_none(store), size), size)
    opened.write_manifest()
    file = table or data / tables.FILE_NAME
    scans: list[str] = []
    needed: list[str] = []
    if table or file.exists():  # a report needs none
        known = tables.load(file)
        warn_if_stale(data, file, known, listener, strict=strict)
        scans = list(known["scan"])
        needed = list(known["scan"][known["fold"].notna() & (known["label"] != "")])
    made = make_report(opened, scans, {}, listener)
    absent = tuple(scan for scan in needed if not opened.has(scan))
    if absent:
        listener.warn(
            f"{counted(len(absent), 'labelled scan')} {'is' if len(absent) == 1 else 'are'} not in the store, and "
            f"training is refused without them; the first is {absent[0]}: run cov3d preprocess --size {size}, and "
            f"delete the rows of scans that can't be read from {file}"
        )
    return replace(made, absent=absent)


def make_report(store: "Store", scans: Iterable[str], failed: Mapping[str, str], listener: Listener) -> "CropReport":
    """Make the pictures of all crops in `store`, and say how many to look at and where.

    Args:
        scans: the dataset's scans; those that are not in the store are listed.
        failed: what was wrong with some of them, by scan.
    """
    from cov3d.reports.crops import write_report

    absent = {scan: "it is not in the store yet" for scan in scans if not store.has(scan)}
    made = write_report(store, {**absent, **failed})
    crops = "crop" if made.n_scans == 1 else "crops"
    listener.say(f"{made.n_doubtful} of {made.n_scans} {crops} to check: look at {made.page}")
    return made
