"""`overrides.csv`: crop boxes that a person gave in place of the automatic ones.

Each row `scan,z0,z1,y0,y1,x0,x1` has a scan's name and a half-open box in voxels of the canonical volume, both as in
the manifest. Further columns (a reason, a reader's initials) are ignored.
"""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cov3d.errors import DatasetError, ScanError
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.record import ScanRecord
from cov3d.volume import Volume

FILE_NAME = "overrides.csv"
COLUMNS = ("scan", "z0", "z1", "y0", "y1", "x0", "x1")


@dataclass(frozen=True)
class Override:
    """A person's box for one scan, with the file and line that it comes from."""

    box: Box
    where: str

    def check_fits(self, volume: Volume) -> None:
        """Check that the box is inside a volume.

        Raises:
            ScanError: it is not; the message names the line to correct.
        """
        depth, height, width = volume.voxels.shape
        if self.box.z1 > depth or self.box.y1 > height or self.box.x1 > width:
            raise ScanError(
                f"{self.where}: the box {self.box} extends beyond the scan {volume.path}, "
                f"which has {depth} × {height} × {width} voxels: correct the line"
            )


def load(file: Path, scan_names: Collection[str]) -> dict[str, Override]:
    """The overrides in `file`, by scan.

    Args:
        file: the table.
        scan_names: of all scans of the dataset.

    Raises:
        DatasetError: the file can't be read, or a line has no valid box of one of the scans; the message names the
            line.
    """
    overrides: dict[str, Override] = {}
    for line, row in _rows(file):
        where = f"{file} line {line}"
        scan = row["scan"]
        if scan not in scan_names:
            raise DatasetError(f"{where}: there is no scan {scan!r}: give its name as in scans.csv")
        if scan in overrides:
            raise DatasetError(f"{where}: {scan} already has a box, in {overrides[scan].where}: keep one of them")
        overrides[scan] = Override(_box(row, where), where)
    return overrides


def is_applied(record: ScanRecord, override: Override | None) -> bool:
    """Whether a stored scan was made with `override`, or without one if None."""
    if override is None:
        return record.crop != "override"
    return record.crop == "override" and record.box == override.box


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, without empty lines and further columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets may write a byte order mark
            reader = csv.DictReader(stream, strict=True)
            rows = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or []
    except FileNotFoundError:
        raise DatasetError(f"there is no overrides file at {file}: check the path") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{file} can't be read as a table: {error}") from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise DatasetError(
            f"{file} line 1: the columns {','.join(missing)} are missing: the first line must be {','.join(COLUMNS)}"
        )
    for line, row in rows:
        if None in row or None in row.values():
            raise DatasetError(f"{file} line {line}: it must have {len(columns)} values, as the first line has")
    return [(line, {column: row[column].strip() for column in COLUMNS}) for line, row in rows]


def _box(row: Mapping[str, str], where: str) -> Box:
    numbers = {}
    for column in COLUMNS[1:]:
        value = row[column]
        if not (value.isascii() and value.isdigit()):
            raise DatasetError(f"{where}: {column} is {value!r}, but must be a whole number, 0 or more")
        numbers[column] = int(value)
    box = Box(**numbers)
    for axis, (first, last) in zip("zyx", box.bounds, strict=True):
        if first >= last:
            raise DatasetError(f"{where}: the box is empty: {axis}0 is {first} and must be less than {axis}1, {last}")
    return box
