"""A store → pictures of all its crops for a person to look at: contact sheets (PNG) and a page (HTML)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cov3d.files import held, in_place
from cov3d.preprocessing.store import Store
from cov3d.reports.contact_sheet import sheets_in, write_sheets
from cov3d.reports.crop_cases import Missing, find_cases
from cov3d.reports.crop_page import write_page
from cov3d.results import staged

FOLDER = "report"
PAGE = "crops.html"


@dataclass(frozen=True)
class CropReport:
    """What was written, and what it shows.

    Attributes:
        page: the HTML page.
        sheets: the contact sheets, in order.
        scans: how many scans have a crop.
        doubtful: how many of these a person should look at.
    """

    page: Path
    sheets: list[Path]
    scans: int
    doubtful: int


def write_report(store: Store, missing: Mapping[str, str]) -> CropReport:
    """Show every crop in `store`, the most doubtful first, from what the store holds; no scan is read.

    Written to the folder `report` in the store, in place of an earlier one: `crops.html`, and `crops-1.png`,
    `crops-2.png`, …

    Args:
        missing: scans of the dataset that are not preprocessed, and why.

    Raises:
        OutputError: the folder can't be written.
        StoreError: a record in the store can't be read.
    """
    cases = find_cases(store.manifest())
    absent = [Missing(scan, why) for scan, why in sorted(missing.items())]
    pictures = {case.scan: picture for case in cases if (picture := store.preview(case.scan)) is not None}
    folder = store.folder / FOLDER
    title = f"Crops at size {store.size}"
    with (
        held(folder, "cov3d preprocess", "wait for it, then make the pictures with --only-report", removes=True),
        staged(folder, [PAGE, *(file.name for file in sheets_in(folder))]) as to,
    ):
        page = write_page(to / PAGE, title, cases, absent, pictures)
        sheets = write_sheets(to, title, cases, absent, pictures)
    return CropReport(
        page=in_place(page),
        sheets=[in_place(sheet) for sheet in sheets],
        scans=len(cases),
        doubtful=sum(case.score > 0 for case in cases),
    )
