"""The table `left-out.csv`: what looks like a scan and was not taken."""

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cov3d.errors import DatasetError
from cov3d.files import write_text
from cov3d.readers.unread import LeftOut

FILE_NAME = "left-out.csv"
COLUMNS = ("path", "likely_scan", "reason")
_WORDS = {True: "yes", False: "no"}


def save_left_out(left_out: Sequence[LeftOut], file: Path) -> None:
    """Write the table, whole or not at all; where nothing was left out, remove an earlier one.

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
    """Read the table; nothing was left out where there is none.

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
