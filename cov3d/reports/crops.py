"""Write pictures of all crops in a store for a person to check: contact sheets (PNG) and a page (HTML)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cov3d.files import folder_lock, in_place
from cov3d.preprocessing.store import Store
from cov3d.reports.contact_sheet import sheets_in, write_sheets
from cov3d.reports.crop_cases import UnprocessedScan, find_cases
from cov3d.reports.crop_page import write_page
from cov3d.results import staged

FOLDER = "report"
PAGE = "crops.html"


@dataclass(frozen=True)
class CropReport:
    """The written files, and the numbers of crops.

    Attributes:
        page: the HTML page.
        sheets: the contact sheets, in order.
        n_scans: number of scans with a crop.
        n_doubtful: number of crops that a person should check.
        absent: the labelled scans of the scan table that are not in the store; training is refused without them.
    """

    page: Path
    sheets: list[Path]
    n_scans: int
    n_doubtful: int
    absent: tuple[str, ...] = ()


def write_report(store: Store, missing: Mapping[str, str]) -> CropReport:
    """Write the pictures of all crops in `store`, the most doubtful first. No scan is read.

    They replace an earlier report in the folder `report` of the store: `crops.html`, and `crops-1.png`, `crops-2.png`,
    …

    Args:
        store: the preprocessed scans.
        missing: scans of the dataset that are not preprocessed, with the reasons.

    Raises:
        OutputError: the folder can't be written.
        StoreError: a record in the store can't be read.
    """
    cases = find_cases(store.records())
    absent = [UnprocessedScan(scan, why) for scan, why in sorted(missing.items())]
    pictures = {case.scan: picture for case in cases if (picture := store.preview(case.scan)) is not None}
    folder = store.folder / FOLDER
    title = f"Crops at size {store.size}"
    with (
        folder_lock(folder, "cov3d preprocess", "wait for it, then make the pictures with --only-report", removes=True),
        staged(folder, [PAGE, *(file.name for file in sheets_in(folder))]) as to,
    ):
        page = write_page(to / PAGE, title, cases, absent, pictures)
        sheets = write_sheets(to, title, cases, absent, pictures)
    return CropReport(
        page=in_place(page),
        sheets=[in_place(sheet) for sheet in sheets],
        n_scans=len(cases),
        n_doubtful=sum(case.score > 0 for case in cases),
    )
