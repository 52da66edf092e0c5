"""Write the HTML page of predictions. It contains everything, also the pictures, and opens from disk without a network.

A row shows a scan: its picture, the prediction, and the reasons to review it. The dialog shows the rest: the evidence
map over the crop, the lung zones, the probabilities of all categories and how the scan was read. Pictures are stored
as text at the end of the page, from which the script loads the visible ones (see `crop_page`).
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from cov3d.evaluation.predictions import probability_columns
from cov3d.labels import UNKNOWN_SEVERITY
from cov3d.preprocessing.preview import MARKS, SIZE
from cov3d.reports import pages
from cov3d.reports.crop_page import breakable

if TYPE_CHECKING:
    from cov3d.readers.left_out import LeftOut

_INTAKE = {
    "format": "format",
    "slices_used": "slices",
    "missing": "slices missing",
    "corrupt": "slices unreadable",
    "orientation": "orientation",
    "window": "Hounsfield window",
    "series": "series",
    "crop": "cropped to",
    "lung_ml": "lungs, ml",
    "lung_share": "lungs, share of body",
    "notes": "notes",
}
"""What the page shows of how a scan was read, with its words."""


class Predicted(Protocol):
    """What the page needs of the result of a prediction."""

    @property
    def table(self) -> pd.DataFrame: ...
    @property
    def manifest(self) -> pd.DataFrame: ...
    @property
    def review(self) -> dict[str, list[str]]: ...
    @property
    def spread(self) -> dict[str, float]: ...
    @property
    def zones(self) -> dict[str, dict[str, float]]: ...
    @property
    def failed(self) -> dict[str, str]: ...
    @property
    def left_out(self) -> "Sequence[LeftOut]": ...
    @property
    def about(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Row:
    """A scan as the template shows it; `details` is JSON for the dialog."""

    scan: str
    name: Any
    presence: str
    is_positive: bool
    probability: float
    spread: float | None
    severity: str
    reasons: Sequence[str]
    details: str


def write_page(
    file: Path, predicted: Predicted, categories: Sequence[str], pictures: Iterable[tuple[str, str, bytes]]
) -> Path:
    """Write the page.

    Args:
        file: where to write.
        predicted: the result.
        categories: of the networks.
        pictures: scan, kind (`preview`, `crop`, `presence`, `severity`) and content (WebP) of each picture.

    Raises:
        OutputError: the file can't be written.
    """
    read = {record["scan"]: record for record in predicted.manifest.to_dict("records")}
    records = predicted.table.to_dict("records")
    rows = [_row(record, read[record["scan"]], predicted, categories) for record in records]
    rows.sort(key=lambda row: (not row.reasons, -row.probability, row.scan))
    return pages.write(
        file,
        "infer",
        rows=rows,
        n_positive=sum(row.is_positive for row in rows),
        n_review=sum(bool(row.reasons) for row in rows),
        about=predicted.about,
        failed=predicted.failed,
        left_out=[(left.path.name, left.reason) for left in predicted.left_out],
        explained=bool(predicted.zones),
        has_spread=bool(predicted.spread),
        pictures=((scan, kind, base64.b64encode(content).decode()) for scan, kind, content in pictures),
        size=SIZE,
        marks=MARKS,
    )


def _row(record: dict[Any, Any], read: dict[Any, Any], predicted: Predicted, categories: Sequence[str]) -> Row:
    scan = record["scan"]
    probabilities = [float(record[column]) for column in probability_columns(categories)]
    details = {
        "categories": dict(zip(categories, probabilities, strict=True)),
        "zones": predicted.zones.get(scan, {}),
        "intake": {words: text for name, words in _INTAKE.items() if (text := _text(read[name]))},
    }
    return Row(
        scan=scan,
        name=breakable(scan),
        presence=record["presence"],
        is_positive=record["presence"] == UNKNOWN_SEVERITY,
        probability=1.0 - probabilities[0],
        spread=predicted.spread.get(scan),
        severity=record["severity"],
        reasons=predicted.review.get(scan, []),
        details=json.dumps(details, separators=(",", ":"), ensure_ascii=False),
    )


def _text(value: Any) -> str:
    if pd.isna(value) or value == "":
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
