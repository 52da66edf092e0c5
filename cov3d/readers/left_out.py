"""Files and folders that look like scans and are not taken, and their table, `left-out.csv`."""

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cov3d.errors import DatasetError
from cov3d.files import write_text

FILE_NAME = "left-out.csv"
COLUMNS = ("path", "likely_scan", "reason")
_WORDS = {True: "yes", False: "no"}


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that was found and is not taken for a scan.

    Attributes:
        path: the file, or the folder of a series.
        reason: what it is and what to do; words that follow the path in a sentence.
        is_scan: whether it is likely a scan, so that a patient may be missing in the results. Pictures beside scans
            are not.
    """

    path: Path
    reason: str
    is_scan: bool

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def save_left_out(left_out: Sequence[LeftOut], file: Path) -> None:
    """Write the table, completely or not at all; remove an earlier table if nothing was left out.

    Raises:
        OutputError: the file can't be written.
    """
    if not left_out:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((left.path.as_posix(), _WORDS[left.is_scan], left.reason) for left in left_out)
    write_text(file, text.getvalue())


def load_left_out(file: Path) -> list[LeftOut]:
    """Read the table; without a table, nothing was left out.

    Raises:
        DatasetError: the file is not such a table.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [LeftOut(Path(row["path"]), row["reason"], row["likely_scan"] == "yes") for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DatasetError(f"{file} can't be read as a table of {', '.join(COLUMNS)}: remove it") from error
