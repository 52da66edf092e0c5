"""What networks predicted in a command that did not end: the same command continues from it.

A line a scan, of JSON, is appended to a hidden file in the folder of the results; the file is removed when the results
are in place. Its name stands for the networks and the version: others begin a file of their own. A line also says what
the scan's files were, so that a scan that was replaced is predicted again. A line that was cut short is ignored.
"""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cov3d
from cov3d.errors import OutputError
from cov3d.files import remove, sha256

_FOLDER = ".predicted"


@dataclass(frozen=True)
class KeptScan:
    """What was predicted of a scan.

    Attributes:
        probabilities: by each network, shape (networks, categories).
        record: how it was preprocessed, if that was part of the work.
    """

    probabilities: NDArray[np.float32]
    record: dict[str, Any]


class Kept:
    """The predictions kept in a folder of results."""

    def __init__(self, folder: Path, checkpoints: Iterable[Path]) -> None:
        """Keep predictions in `folder`, which the command holds.

        Args:
            folder: of the results.
            checkpoints: of the networks, in order.
        """
        identity = [cov3d.__version__, *map(sha256, checkpoints)]
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        self._folder = folder / _FOLDER
        self._file = self._folder / f"{digest[:16]}.jsonl"
        self._states: Mapping[str, str] = {}

    def load(self, states: Mapping[str, str], categories: int) -> dict[str, KeptScan]:
        """What was predicted of scans, as far as it is known.

        Args:
            states: what stands for the contents of each scan's files, see `state_of`.
            categories: the number of the networks' outputs.
        """
        self._states = states
        found: dict[str, KeptScan] = {}
        for line in self._lines():
            try:
                said = json.loads(line)
                scan, kept = said["scan"], KeptScan(np.array(said["probabilities"], np.float32), dict(said["record"]))
                sound = kept.probabilities.ndim == 2 and kept.probabilities.shape[1] == categories
                if states.get(scan) == said["state"] and sound:
                    found[scan] = kept
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
        return found

    def _lines(self) -> list[bytes]:
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self._file} can't be read: {error.strerror or error}; remove it") from error
        return content.splitlines()

    def add(self, scan: str, probabilities: NDArray[np.float32], record: Mapping[str, Any]) -> None:
        """Keep what was predicted of a scan.

        Raises:
            OutputError: the file can't be written.
        """
        line = {
            "scan": scan,
            "state": self._states.get(scan),
            "probabilities": probabilities.astype(np.float64).tolist(),
            "record": dict(record),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as stream:
                # The line before may have been cut short.
                stream.write(b"\n" + json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._file} can't be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """Remove what is kept, the results being in place; of other networks too."""
        try:
            remove(self._folder)
        except OSError as error:
            raise OutputError(f"{self._folder} can't be removed: {error.strerror or error}") from error


def left_to_predict(scans: Sequence[str], known: Container[str], batch_size: int) -> list[str]:
    """The scans of every batch of which one is not known: so batches, and with them digits, are as without a break."""
    batches = [scans[start : start + batch_size] for start in range(0, len(scans), batch_size)]
    return [scan for batch in batches if not all(one in known for one in batch) for scan in batch]


def state_of(path: Path) -> str:
    """What stands for the contents of a scan's files: where they are, their names, lengths and times."""
    try:
        entries = list(os.scandir(path)) if path.is_dir() else []
        files = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
        here = path.stat()
        files.append((str(path.resolve()), 0 if entries else here.st_size, 0 if entries else here.st_mtime_ns))
    except OSError as error:  # said where it is read
        return f"can't be read: {error}"
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()[:16]
