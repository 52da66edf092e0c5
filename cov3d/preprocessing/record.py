"""The record of a preprocessed scan: how it was read, cropped and measured. It is the scan's row of the manifest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cov3d.errors import StoreError
from cov3d.preprocessing.crop import Box, CropKind
from cov3d.preprocessing.signs import Signs
from cov3d.values import Field, check_fields, integer, number, one_of, optional, read_object, string

if TYPE_CHECKING:
    import pandas as pd  # only the manifest needs it: without it, a worker needs a third less memory


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """The record of one scan. Its fields are the columns of the manifest, in order.

    Attributes:
        scan: the scan's name; empty until the scan is added to a store.
        slices_found: number of slices on disk, readable or not.
        slices_used: number of slices in the volume.
        depth, height, width: shape of the canonical volume.
        z0, z1, y0, y1, x0, x1: the crop box, half-open, in voxels of the canonical volume.
        crop: the kind of box, see `Crop`.
        lung_share: lung volume divided by body volume.
        lung_ml: lung volume in millilitres; None if the spacing is unknown.
        spacing_z, spacing_y, spacing_x: millimetres between voxels; None if unknown.
        left_share, opacity: see `Segmentation`.
        outside_box, other_air, step, beyond, cut_above, cut_below: see `Signs`.
        format, orientation, window, missing, doubled, corrupt, series: from the reader, see `Volume`. Records of
            earlier versions do not have them: then they are empty or None.
        notes: problems and what was done about them, separated by semicolons.
    """

    scan: str = ""
    slices_found: int
    slices_used: int
    depth: int
    height: int
    width: int
    z0: int
    z1: int
    y0: int
    y1: int
    x0: int
    x1: int
    crop: CropKind
    lung_share: float
    lung_ml: int | None
    spacing_z: float | None
    spacing_y: float | None
    spacing_x: float | None
    left_share: float
    opacity: float
    outside_box: float
    other_air: float
    step: float
    beyond: float
    cut_above: float
    cut_below: float
    format: str = ""
    orientation: str = ""
    window: str = ""
    missing: int | None = None
    doubled: int | None = None
    corrupt: int | None = None
    series: str = ""
    notes: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ScanRecord":
        """The record of values by column, of which numbers may be text, as read from a table."""
        return cls(**{item.name: _typed(item.type, values[item.name]) for item in fields(cls) if item.name in values})

    @property
    def box(self) -> Box:
        """The crop box."""
        return Box(self.z0, self.z1, self.y0, self.y1, self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the canonical volume."""
        return self.depth, self.height, self.width

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres between voxels along (depth, height, width); None if unknown."""
        if self.spacing_z is None or self.spacing_y is None or self.spacing_x is None:
            return None
        return self.spacing_z, self.spacing_y, self.spacing_x

    def by_column(self) -> dict[str, Any]:
        """The values by column, in order."""
        return {column: getattr(self, column) for column in RECORD_COLUMNS}

    def without_name(self) -> dict[str, Any]:
        """The values by column, in order, without the scan's name."""
        return {column: value for column, value in self.by_column().items() if column != "scan"}


def _typed(kind: Any, value: Any) -> Any:
    """A value, a number if the type is one; None for an empty one, if the type allows it."""
    if kind in (str, CropKind):
        return value
    if (value is None or value == "" or value != value) and type(None) in get_args(kind):
        return None
    return int(float(value)) if int in (kind, *get_args(kind)) else float(value)


RECORD_COLUMNS = tuple(field.name for field in fields(ScanRecord))
"""Columns of the manifest."""

SIGNS = tuple(field.name for field in fields(Signs))
"""Columns from which doubtful crops are found."""

_ADDED_LATER = ("format", "orientation", "window", "missing", "doubled", "corrupt", "series")
"""Columns that records of earlier versions do not have."""

_ANY_NUMBER = number(float("-inf"), float("inf"), nan=True)
_CHECKS = {
    str: string,
    int: integer(0),
    float: _ANY_NUMBER,
    int | None: optional(integer(0)),
    float | None: optional(_ANY_NUMBER),
    CropKind: one_of(get_args(CropKind)),
}
"""The check of a stored value, by the type of its field."""

_FIELDS = {
    field.name: Field(_CHECKS[field.type], required=field.name not in _ADDED_LATER)  # type: ignore[index]
    for field in fields(ScanRecord)
} | {"lung_share": Field(number(0, 1))}


def read_record(file: Path) -> ScanRecord:
    """The record in a file.

    Raises:
        StoreError: it can't be read.
    """
    try:
        found = check_fields(read_object(file), _FIELDS)
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} can't be read ({error}): delete it and preprocess again") from error
    return ScanRecord(**{column: found[column] for column in RECORD_COLUMNS if column in found})


def read_records(files: Iterable[Path], known: Mapping[Path, ScanRecord]) -> dict[Path, ScanRecord]:
    """The records by file, without those removed meanwhile for scans being preprocessed again; reuses `known` ones.

    Raises:
        StoreError: a record can't be read.
    """
    records = {}
    for file in files:
        try:
            records[file] = known.get(file) or read_record(file)
        except StoreError:
            if file.exists():
                raise
    return records


def to_table(records: Iterable[ScanRecord]) -> "pd.DataFrame":
    """The manifest: one row for each record, sorted by scan."""
    import pandas as pd

    rows = [record.by_column() for record in records]
    for row in rows:
        # Empty strings, unlike None, keep the numbers of the other rows whole.
        row.update({column: "" for column in _ADDED_LATER if row[column] is None})
    return pd.DataFrame(rows, columns=list(RECORD_COLUMNS)).sort_values("scan", ignore_index=True)
