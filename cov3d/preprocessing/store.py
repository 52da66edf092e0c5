"""The store of preprocessed volumes: `<data>/preprocessed/<size>/`.

- `volumes/<scan>.diff.npy.zst`: a volume (format: `encoding`).
- `previews/<scan>.webp`: a small picture of its crop.
- `records/<scan>.json`: its row of the manifest.
- `settings.json`: the settings of all volumes.

The record is written last, and removed first when a scan is preprocessed again. It holds the length of the volume's
file. So a scan with a record and a file of that length is complete, even if a process was killed at any time.

Any number of processes, on any number of machines, may fill one store at once. Each file is written in `.writing` and
moved into place in one step. `.writing` has one folder for each scan. The process that finishes the scan removes the
folder, with files that killed processes left in it. So no process needs to know which others are still running.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import OutputError, StoreError
from cov3d.files import replacing, write_text, write_text_once
from cov3d.preprocessing.encoding import FIRST_FORMAT, FORMAT, FORMAT_NAME, SUFFIX, decode, encode
from cov3d.preprocessing.pipeline import Preprocessed, settings
from cov3d.preprocessing.record import ScanRecord, read_record, read_records, to_table
from cov3d.preprocessing.sizes import Size
from cov3d.values import Field, brief, check_fields, read_object, text

if TYPE_CHECKING:
    import pandas as pd  # only the manifest needs it: without it, a worker needs a third less memory

MANIFEST = "manifest.csv"
_DAY = 24 * 60 * 60
_TRIES = 5


class Store:
    """A folder of volumes of one size, all made with the same settings."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size

    @classmethod
    def create(cls, folder: Path, size: Size) -> "Store":
        """Open the store at `folder`, or create it.

        Raises:
            StoreError: the store was made with other settings.
            OutputError: the folder can't be written.
        """
        store = cls(folder, size)
        if not store.settings_file.exists():
            text = json.dumps({"format": FORMAT, "volumes": FORMAT_NAME, **settings(size)}, indent=2)
            store._persist(partial(write_text_once, store.settings_file, text + "\n", store._writing))
            store.tidy()
        store.check_settings(settings(size))
        return store

    @classmethod
    def open(cls, folder: Path, size: Size) -> "Store":
        """Open a store to read from it.

        Raises:
            StoreError: there is no store, or it has another size or other settings.
        """
        store = cls(folder, size)
        if not store.settings_file.exists():
            raise StoreError(f"no preprocessed scans at {folder}: run cov3d preprocess --size {size} first")
        store.check_settings(settings(size))
        return store

    @property
    def settings_file(self) -> Path:
        """The file that marks a folder as a store."""
        return self.folder / "settings.json"

    def check_settings(self, wanted: dict[str, Any]) -> None:
        """Check that the store was made with the settings `wanted` and in the current format.

        Raises:
            StoreError: it was not; the message lists the differences.
        """
        try:
            found = check_fields(read_object(self.settings_file), {"hash": Field(text(64))})
            digest = found["hash"]
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.settings_file} can't be read: {error}") from error
        found.setdefault("format", FIRST_FORMAT)
        wanted = {"format": FORMAT, **wanted}
        if digest != wanted["hash"] or found["format"] != FORMAT:
            differing = [key for key in wanted if key != "hash" and wanted[key] != found.get(key)]
            what = ", ".join(f"{key} is {brief(found.get(key))}, not {wanted[key]!r}" for key in differing)
            raise StoreError(
                f"the store {self.folder} was made with other settings ({what or 'another version'}): give another "
                f"--store, or delete this one and run cov3d preprocess --size {self.size} again"
            )

    @property
    def _writing(self) -> Path:
        return self.folder / ".writing"

    def _aside(self, scan: str) -> Path:
        """The folder in which the files of a scan are written before they are moved into place."""
        return self._writing / hashlib.sha256(scan.encode()).hexdigest()[:16]

    def volume_file(self, scan: str) -> Path:
        """The path of the scan's volume."""
        return self.folder / "volumes" / f"{scan}{SUFFIX}"

    def _record_file(self, scan: str) -> Path:
        return self.folder / "records" / f"{scan}.json"

    def _preview_file(self, scan: str) -> Path:
        return self.folder / "previews" / f"{scan}.webp"

    def has(self, scan: str) -> bool:
        """Whether the scan is complete in the store: it has a record, and its volume has the length in the record."""
        try:
            record = read_object(self._record_file(scan))
            return bool(record.get("bytes") == self.volume_file(scan).stat().st_size)
        except (OSError, ValueError):
            return False

    def write(self, scan: str, preprocessed: Preprocessed) -> None:
        """Add a scan to the store, completely or not at all.

        Raises:
            OutputError: the folder can't be written.
        """
        aside = self._aside(scan)
        for left in reversed(range(_TRIES)):
            try:
                self._write(scan, preprocessed, aside)
            except OutputError:
                # Another process may have finished the same scan first and removed our files with its own.
                if not left:
                    raise
            else:
                shutil.rmtree(aside, ignore_errors=True)
                return
            finally:
                with suppress(OSError):
                    aside.rmdir()

    def _write(self, scan: str, preprocessed: Preprocessed, aside: Path) -> None:
        encoded = encode(preprocessed.voxels[self.size])
        record = replace(preprocessed.record, scan=scan)
        text = json.dumps({**record.by_column(), "bytes": len(encoded)}, ensure_ascii=False) + "\n"
        self._drop_record(scan, unless=text)
        with replacing(self.volume_file(scan), aside) as file:
            file.write_bytes(encoded)
        if preprocessed.preview is not None:
            with replacing(self._preview_file(scan), aside) as file:
                file.write_bytes(preprocessed.preview)
        write_text(self._record_file(scan), text, aside)

    def _persist(self, write: Callable[[], None]) -> None:
        """Call `write`, again if it fails: another process may have removed the folder `.writing` meanwhile."""
        for left in reversed(range(_TRIES)):
            try:
                return write()
            except OutputError:
                if not left:
                    raise

    def _drop_record(self, scan: str, unless: str) -> None:
        """Remove the scan's record before its volume changes. A record equal to `unless` may stay."""
        with suppress(OSError):
            if self._record_file(scan).read_text(encoding="utf-8") == unless:
                return
        try:
            self._record_file(scan).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._record_file(scan)} can't be replaced: {error.strerror}") from error

    def tidy(self) -> None:
        """Remove files that killed processes left, if they are more than a day old."""
        with suppress(OSError):
            self._writing.rmdir()  # usually empty
            return
        with suppress(OSError):
            now = _time_there(self._writing)
            for left in self._writing.iterdir():
                if now - left.stat().st_mtime > _DAY:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
            self._writing.rmdir()

    def read(self, scan: str) -> NDArray[np.uint8]:
        """The scan's volume, a new `uint8` array (depth, height, width).

        Raises:
            StoreError: the scan is not in the store, or its file is damaged.
        """
        file = self.volume_file(scan)
        try:
            return decode(file.read_bytes(), self.size.shape)
        except FileNotFoundError:
            raise StoreError(
                f"{scan} is not preprocessed at size {self.size} in {self.folder}: "
                f"run cov3d preprocess --size {self.size} first"
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged ({error}): delete it and preprocess again") from error

    def preview(self, scan: str) -> bytes | None:
        """The picture of the scan's crop (WebP), or None if there is none.

        Raises:
            StoreError: it can't be read.
        """
        file = self._preview_file(scan)
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{file} can't be read: {error.strerror}") from error

    def record(self, scan: str) -> ScanRecord:
        """The scan's record.

        Raises:
            StoreError: it can't be read.
        """
        return read_record(self._record_file(scan))

    def _record_files(self) -> set[Path]:
        return set((self.folder / "records").rglob("*.json"))

    def records(self) -> list[ScanRecord]:
        """The records of all scans in the store, sorted by scan.

        Raises:
            StoreError: a record can't be read.
        """
        return sorted(read_records(self._record_files(), {}).values(), key=lambda record: record.scan)

    def manifest(self) -> "pd.DataFrame":
        """One row for each scan in the store, sorted by scan, from their records.

        Raises:
            StoreError: a record can't be read.
        """
        return to_table(self.records())

    def write_manifest(self, tries: int = 20) -> "pd.DataFrame":
        """Write `manifest.csv` and return it.

        Other processes may add scans and write the manifest at the same time. Each process checks for new records
        after writing and writes again if there are any. So the last manifest written has all records.
        """
        records: dict[Path, ScanRecord] = {}
        for _ in range(tries):
            files = self._record_files()
            records = read_records(files, records)
            table = to_table(records.values())
            text = table.to_csv(index=False, lineterminator="\n")
            self._persist(partial(write_text, self.folder / MANIFEST, text, self._writing))
            if self._record_files() == files:
                break
        self.tidy()
        return table


def _time_there(folder: Path) -> float:
    """The current time by the clock of the file system, which may be on another machine."""
    probe = folder / f".{secrets.token_hex(8)}.part"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
