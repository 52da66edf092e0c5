"""`scans.origin.json`, beside the scan table: how the table was made, and what the dataset held then.

With it, a stale table is distinguished from one that a person edited: the dataset of today is compared with the
dataset of then, not with the table alone.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cov3d.errors import DatasetError
from cov3d.files import write_text


@dataclass(frozen=True)
class Origin:
    """How a scan table was made.

    Attributes:
        layout: the name of the dataset whose layout was found, if any.
        seed: of the split into folds.
        splits: the table of splits that was followed, if any.
        splits_digest: of its content.
        table_digest: of the scan table's text; another text was edited.
        labels: of every scan that the dataset held, by its own folders and files.
        centres: of every scan whose centre the dataset's own files gave.
    """

    layout: str | None
    seed: int
    splits: str | None
    splits_digest: str | None
    labels: dict[str, str]
    table_digest: str = ""
    centres: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        layout: str | None,
        seed: int,
        splits: Path | None,
        labels: dict[str, str],
        centres: dict[str, str],
    ) -> "Origin":
        """The origin of a table that is made now.

        Raises:
            DatasetError: the table of splits can't be read.
        """
        if splits is None:
            return cls(layout, seed, None, None, labels, centres=centres)
        return cls(layout, seed, str(splits.absolute()), digest_of(splits), labels, centres=centres)


def digest_of(file: Path) -> str:
    """A hash of a file's content.

    Raises:
        DatasetError: the file can't be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{file} can't be read: {error.strerror}") from error


def origin_file(table: Path) -> Path:
    """Where the origin of a scan table is."""
    return table.with_name(f"{table.stem}.origin.json")


def write_origin(origin: Origin, text: str, table: Path) -> None:
    """Write the origin of the scan table with this text.

    Raises:
        OutputError: the file can't be written.
    """
    written = replace(origin, table_digest=hashlib.sha256(text.encode()).hexdigest())
    write_text(origin_file(table), json.dumps(asdict(written), indent=1, sort_keys=True) + "\n")


def read_origin(table: Path) -> Origin | None:
    """The origin of a scan table; None where there is none, or its file is not one of ours."""
    try:
        content: Any = json.loads(origin_file(table).read_text(encoding="utf-8"))
        origin = Origin(**content)
    except (OSError, ValueError, TypeError):
        return None
    texts = (origin.layout, origin.splits, origin.splits_digest)
    good = (
        all(text is None or isinstance(text, str) for text in texts)
        and type(origin.seed) is int
        and isinstance(origin.table_digest, str)
        and all(isinstance(found, dict) for found in (origin.labels, origin.centres))
        and all(isinstance(text, str) for found in (origin.labels, origin.centres) for text in found.values())
    )
    return origin if good else None
