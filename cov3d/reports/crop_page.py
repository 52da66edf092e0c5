"""Write the HTML page of crops. It contains everything, including pictures, and opens from disk without a network.

A row shows the picture, the name and what to check. The numbers of the manifest are in the row's attributes: the dialog
shows them beside the enlarged picture, and rows can be sorted by them. The script sorts, filters and enlarges.

The page stays fast with thousands of rows: the browser lays out only the visible rows, and the pictures are stored as
text at the end of the page, from which the script loads the visible ones. With the pictures as image sources, the page
took twice as long to open, and pictures were missing in print.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from cov3d.preprocessing.overrides import COLUMNS as OVERRIDE_COLUMNS
from cov3d.preprocessing.preview import MARKS, SIZE, panels
from cov3d.preprocessing.record import RECORD_COLUMNS, SIGNS
from cov3d.reports import pages
from cov3d.reports.crop_cases import Case, UnprocessedScan


@dataclass(frozen=True)
class _Row:
    """A scan as the template shows it.

    `numbers` and `panels` are JSON: the values of the page's columns, and the positions of the planes in the picture.
    """

    case: Case
    name: Markup
    pictured: bool
    numbers: str
    note: str
    panels: str
    shape: str
    box: str


def write_page(
    file: Path,
    title: str,
    cases: Sequence[Case],
    missing: Sequence[UnprocessedScan],
    pictures: Mapping[str, bytes],
) -> Path:
    """Write the page.

    Args:
        file: where to write.
        title: of the page.
        cases: scans with a crop, in the order shown.
        missing: scans without a crop.
        pictures: the available previews (WebP), by scan.

    Raises:
        OutputError: the file can't be written.
    """
    columns = _columns(cases)
    return pages.write(
        file,
        "crops",
        title=title,
        columns={column: _WORDS.get(column, column.replace("_", " ")) for column in columns},
        rows=[_row(case, columns, pictured=case.scan in pictures) for case in cases],
        pictures=((scan, base64.b64encode(picture).decode()) for scan, picture in pictures.items()),
        missing=missing,
        n_scans=len(cases),
        to_check=sum(case.score > 0 for case in cases),
        settled=sum(case.settled for case in cases),
        size=SIZE,
        marks=MARKS,
        override_columns=",".join(OVERRIDE_COLUMNS),
    )


_WORDS = {
    "crop": "cropped to",
    "lung_share": "lungs, share of body",
    "lung_ml": "lungs, ml",
    "spacing_z": "spacing z, mm",
    "spacing_y": "spacing y, mm",
    "spacing_x": "spacing x, mm",
    "left_share": "left lung, share of both",
    "opacity": "opaque, share of lungs",
}
"""Clearer names for some columns of the manifest."""


def _columns(cases: Sequence[Case]) -> list[str]:
    """The manifest's numbers that at least one scan has. JPEG scans have no spacing and no volume in ml."""
    # The signs are left out: the doubts show those that matter.
    numbers = [column for column in RECORD_COLUMNS if column not in ("scan", "notes", *SIGNS)]
    return [column for column in numbers if any(_text(getattr(case.record, column)) for case in cases)]


def _row(case: Case, columns: list[str], *, pictured: bool) -> _Row:
    record = case.record
    laid = panels(record.shape, record.spacing)
    return _Row(
        case=case,
        name=breakable(case.scan),
        pictured=pictured,
        numbers=_json([_text(getattr(record, column)) for column in columns]),
        note=record.notes if case.settled else "",
        panels=_json([astuple(panel) for panel in laid]),
        shape=" ".join(map(str, record.shape)),
        box=" ".join(str(getattr(record, column)) for column in OVERRIDE_COLUMNS[1:]),
    )


def breakable(scan: str) -> Markup:
    """A name, escaped for HTML, that may be wrapped after slashes and underscores."""
    return Markup(re.sub("([/_])", r"\1<wbr>", str(escape(scan))))


def _json(values: list[Any]) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def _text(value: Any) -> str:
    """A value of the manifest for display: up to four decimals, 3512 rather than 3512.0, empty if unknown."""
    if pd.isna(value):
        return ""
    return np.format_float_positional(value, precision=4, trim="-") if isinstance(value, float) else str(value)
