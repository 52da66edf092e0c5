"""The table `intake.csv`: how each scan was read, and every file or folder that was given and is not predicted.

Every command that searches for scans writes those that look like scans to `left-out.csv`. This table also has the
predicted scans and the files that do not look like scans, so that it accounts for everything that was given.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cov3d.files import write_text
from cov3d.readers import LeftOut

FILE_NAME = "intake.csv"
_BOX = ("z0", "z1", "y0", "y1", "x0", "x1")
_AXES = {"z": "spacing_z", "y": "spacing_y", "x": "spacing_x"}
COLUMNS = (
    *("scan", "outcome", "format", "depth", "height", "width", *_AXES.values(), "orientation", "window"),
    *("slices_found", "missing", "doubled", "corrupt", "series", "lungs", "lung_ml"),
    *_BOX,
    *(f"{edge}_mm" for edge in _BOX),
    *("warnings", "reason"),
)
PREDICTED, FAILED, LEFT_OUT = "predicted", "failed", "left out"


def intake_table(manifest: pd.DataFrame, failed: Mapping[str, str], left_out: Sequence[LeftOut]) -> pd.DataFrame:
    """A row for each scan, then for each that failed, then for each other file or folder.

    Args:
        manifest: how each scan was read and cropped, with the columns of a store's manifest.
        failed: what is wrong with the scans that could not be read, by name.
        left_out: the other files and folders that were given.
    """
    rows = [_row(record) for record in manifest.to_dict("records")]
    rows += [{"scan": scan, "outcome": FAILED, "reason": reason} for scan, reason in sorted(failed.items())]
    rows += [{"scan": left.path.as_posix(), "outcome": LEFT_OUT, "reason": left.reason} for left in left_out]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(object)


def save_intake(table: pd.DataFrame, folder: Path) -> None:
    """Write the table into a folder.

    Raises:
        OutputError: it can't be written.
    """
    write_text(folder / FILE_NAME, table.to_csv(index=False, lineterminator="\n"))


def _row(record: Mapping[Any, Any]) -> dict[str, Any]:
    millimetres = {}
    for edge in _BOX:
        spacing = record[_AXES[edge[0]]]
        millimetres[f"{edge}_mm"] = None if pd.isna(spacing) else round(record[edge] * spacing, 1)
    warnings = [text for text in (record["notes"], record.get("doubtful", "")) if text]
    return {
        **{column: record[column] for column in COLUMNS if column in record},
        **millimetres,
        "outcome": PREDICTED,
        "lungs": record["crop"],
        "warnings": "; ".join(dict.fromkeys(warnings)),
    }
