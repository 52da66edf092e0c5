"""The store of preprocessed volumes: `<data>/preprocessed/<size>/`.

`volumes/<scan>.npy` holds a volume, `previews/<scan>.webp` a small picture of its crop, `records/<scan>.json` its row
of the manifest, `settings.json` what they were made with. A volume is plain .npy so that training maps it into memory.
The record is written last, and removed first where a scan is done again: a scan that has one is whole, whatever was
killed when.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.errors import OutputError, StoreError
from cov3d.files import replacing, write_text
from cov3d.preprocess.pipeline import RECORD_COLUMNS, Preprocessed, settings
from cov3d.preprocess.sizes import Size

MANIFEST = "manifest.csv"


class Store:
    """A folder of volumes of one size, all made with the same settings."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size

    @classmethod
    def create(cls, folder: Path, size: Size) -> "Store":
        """Open the store at `folder`, or begin one.

        Raises:
            StoreError: there is one already, made with other settings.
            OutputError: the folder can't be written.
        """
        store = cls(folder, size)
        if store._settings_file.exists():
            store.check_settings(settings(size))
        else:
            write_text(store._settings_file, json.dumps(settings(size), indent=2) + "\n")
        return store

    @classmethod
    def open(cls, folder: Path, size: Size) -> "Store":
        """Open a store to read from it.

        Raises:
            StoreError: there is no store, or it has another size or other settings.
        """
        store = cls(folder, size)
        if not store._settings_file.exists():
            raise StoreError(f"no preprocessed scans at {folder}: run cov3d preprocess --size {size} first")
        store.check_settings(settings(size))
        return store

    @property
    def _settings_file(self) -> Path:
        return self.folder / "settings.json"

    def check_settings(self, wanted: dict[str, Any]) -> None:
        """Refuse the store if it was not made with the settings `wanted`."""
        try:
            found = json.loads(self._settings_file.read_text(encoding="utf-8"))
            digest = found["hash"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self._settings_file} can't be read: {error}") from error
        if digest != wanted["hash"]:
            differing = [key for key in wanted if key != "hash" and wanted[key] != found.get(key)]
            what = ", ".join(f"{key} is {found.get(key)!r}, not {wanted[key]!r}" for key in differing)
            raise StoreError(
                f"the store {self.folder} was made with other settings ({what or 'another version'}): "
                "give another --store, or delete this one and preprocess again"
            )

    def _volume_file(self, scan: str) -> Path:
        return self.folder / "volumes" / f"{scan}.npy"

    def _record_file(self, scan: str) -> Path:
        return self.folder / "records" / f"{scan}.json"

    def _preview_file(self, scan: str) -> Path:
        return self.folder / "previews" / f"{scan}.webp"

    def has(self, scan: str) -> bool:
        """Whether the scan is in the store, whole."""
        return self._record_file(scan).exists() and self._volume_file(scan).exists()

    def write(self, scan: str, preprocessed: Preprocessed) -> None:
        """Put a scan into the store, whole or not at all.

        Raises:
            OutputError: the folder can't be written.
        """
        self._drop_record(scan)
        with replacing(self._volume_file(scan)) as aside, aside.open("wb") as stream:
            np.save(stream, preprocessed.voxels[self.size], allow_pickle=False)
        if preprocessed.preview is not None:
            with replacing(self._preview_file(scan)) as aside:
                aside.write_bytes(preprocessed.preview)
        record = {"scan": scan, **preprocessed.record}
        write_text(self._record_file(scan), json.dumps(record, ensure_ascii=False) + "\n")

    def _drop_record(self, scan: str) -> None:
        try:
            self._record_file(scan).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._record_file(scan)} can't be replaced: {error.strerror}") from error

    def preview(self, scan: str) -> bytes | None:
        """The picture of the scan's crop (WebP), or None where there is none.

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

    def read(self, scan: str) -> NDArray[np.uint8]:
        """The scan's volume, `uint8` (depth, height, width), mapped from the file.

        Raises:
            StoreError: the scan is not in the store, or its file is damaged.
        """
        file = self._volume_file(scan)
        try:
            voxels = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise StoreError(
                f"{scan} is not preprocessed at size {self.size} in {self.folder}: "
                f"run cov3d preprocess --size {self.size} first"
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged ({error}): delete it and preprocess again") from error
        if voxels.dtype != np.uint8 or voxels.shape != self.size.shape:
            raise StoreError(
                f"{file} holds {voxels.dtype} {voxels.shape}, not uint8 {self.size.shape}: "
                "delete it and preprocess again"
            )
        return voxels

    def record(self, scan: str) -> dict[str, Any]:
        """The scan's row of the manifest.

        Raises:
            StoreError: it can't be read.
        """
        return _read_record(self._record_file(scan))

    def manifest(self) -> pd.DataFrame:
        """A row for every scan in the store, sorted by scan, from their records.

        Raises:
            StoreError: a record can't be read.
        """
        records = [_read_record(file) for file in (self.folder / "records").rglob("*.json")]
        table = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
        return table.sort_values("scan", ignore_index=True)

    def write_manifest(self) -> pd.DataFrame:
        """Write `manifest.csv` and return it."""
        table = self.manifest()
        write_text(self.folder / MANIFEST, table.to_csv(index=False, lineterminator="\n"))
        return table


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return {column: record[column] for column in RECORD_COLUMNS}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{file} can't be read ({error}): delete it and preprocess again") from error
