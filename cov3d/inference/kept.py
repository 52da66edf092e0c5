"""Predictions kept from an interrupted command, so that the same command can continue.

Each prediction is appended, as one line of JSON, to a hidden file in the folder of the results. The file is removed
when the results are in place. Its name depends on the networks and the version of cov3d, so other networks use another
file. A line also holds a hash of the scan's files, so that a scan that was replaced is predicted again. Incomplete
lines are ignored.
"""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    """The kept prediction of a scan.

    Attributes:
        probabilities: of each network, shape (networks, categories).
        record: how the scan was preprocessed, if the command did so.
        extras: plain values that were computed beside the probabilities, by name.
    """

    probabilities: NDArray[np.float32]
    record: dict[str, Any]
    extras: dict[str, Any] = field(default_factory=dict)


class KeptPredictions:
    """The predictions kept in a folder of results."""

    def __init__(self, folder: Path, checkpoints: Iterable[Path], how: str = "", share: str = "") -> None:
        """Keep predictions in `folder`, which the command has locked.

        Args:
            folder: of the results.
            checkpoints: of the networks, in order.
            how: other settings that change what is predicted.
            share: the share of the scans that this command predicts; commands with other shares may run at once.
        """
        identity = [cov3d.__version__, *map(sha256, checkpoints), *[how] * bool(how)]
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        self._folder = folder / _FOLDER
        self._pattern = f"{digest[:16]}*.jsonl"
        self._file = self._folder / f"{digest[:16]}{share}.jsonl"
        self.pictures = self._folder / digest[:16]
        """Folder for the pictures and maps of the scans, see `picture`."""
        self._states: Mapping[str, str] = {}

    def load(self, states: Mapping[str, str], categories: int) -> dict[str, KeptScan]:
        """The kept predictions of scans, by scan name.

        Args:
            states: hash of each scan's files, see `file_state`.
            categories: number of the networks' outputs.
        """
        self._states = states
        found: dict[str, KeptScan] = {}
        for line in self._lines():
            try:
                values = json.loads(line)
                probabilities = np.array(values["probabilities"], np.float32)
                kept = KeptScan(probabilities, dict(values["record"]), dict(values["extras"]))
                scan = values["scan"]
                is_valid = kept.probabilities.ndim == 2 and kept.probabilities.shape[1] == categories
                if states.get(scan) == values["state"] and is_valid:
                    found[scan] = kept
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
        return found

    def _lines(self) -> Iterator[bytes]:
        """The lines of all shares."""
        for file in sorted(self._folder.glob(self._pattern)):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise OutputError(f"{file} can't be read: {error.strerror or error}; remove it") from error
            yield from content.splitlines()

    def add(self, scan: str, kept: KeptScan) -> None:
        """Keep the prediction of a scan.

        Raises:
            OutputError: the file can't be written.
        """
        self._append(
            {
                "scan": scan,
                "state": self._states.get(scan),
                "probabilities": kept.probabilities.astype(np.float64).tolist(),
                "record": dict(kept.record),
                "extras": kept.extras,
            }
        )

    def _append(self, values: Mapping[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as stream:
                # The line before may be incomplete.
                stream.write(b"\n" + json.dumps(values).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._file} can't be written: {error.strerror or error}") from error

    def add_failure(self, scan: str, error: str) -> None:
        """Keep the error of a scan, for the other shares; the same command tries the scan again.

        Raises:
            OutputError: the file can't be written.
        """
        self._append({"scan": scan, "state": self._states.get(scan), "error": error})

    def failures(self) -> dict[str, str]:
        """The kept errors of scans whose files have not changed since, by scan; `load` comes first."""
        found = {}
        for line in self._lines():
            try:
                values = json.loads(line)
                if self._states.get(values["scan"]) == values["state"]:
                    found[values["scan"]] = str(values["error"])
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
        return found

    def picture(self, scan: str, name: str) -> Path:
        """Where a picture or map of a scan is kept until the results are in place."""
        return self.pictures / f"{hashlib.sha256(scan.encode()).hexdigest()[:16]}-{name}"

    def remove(self) -> None:
        """Remove all kept predictions, also of other networks, when the results are in place."""
        try:
            remove(self._folder)
        except OSError as error:
            raise OutputError(f"{self._folder} can't be removed: {error.strerror or error}") from error


def left_to_predict(scan_names: Sequence[str], known: Container[str], batch_size: int) -> list[str]:
    """The scans of all batches that are not completely known.

    Complete batches are predicted again, so that the result has the same digits as without an interruption.
    """
    batches = [scan_names[start : start + batch_size] for start in range(0, len(scan_names), batch_size)]
    return [scan for batch in batches if not all(one in known for one in batch) for scan in batch]


def file_state(path: Path) -> str:
    """A hash of the location, names, lengths and times of a scan's files. It changes if a file is replaced."""
    try:
        entries = list(os.scandir(path)) if path.is_dir() else []
        files = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
        here = path.stat()
        files.append((str(path.resolve()), 0 if entries else here.st_size, 0 if entries else here.st_mtime_ns))
    except OSError as error:  # reported when the scan is read
        return f"can't be read: {error}"
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()[:16]
