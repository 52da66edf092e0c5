"""The store of preprocessed volumes: `<data>/preprocessed/<size>/`.

`volumes/<scan>.diff.npy.zst` holds a volume (`encoding` says how), `previews/<scan>.webp` a small picture of its crop,
`records/<scan>.json` its row of the manifest, `settings.json` what they were made with. The record is written last and
removed first where a scan is done again, and it says how long the volume's file is: a scan that has one is whole,
whatever was killed when.

Any number of processes, on any number of machines, may fill one store at once. Each file is written aside, in
`.writing`, and put in place in one step. A folder there is of one scan: whoever has put that scan into the store
removes it, with what killed processes left in it. So nobody needs to know who is still alive.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import OutputError, StoreError
from cov3d.files import replacing, write_text, write_text_once
from cov3d.preprocess.encoding import FORMAT, FORMAT_BEFORE, IN_WORDS, SUFFIX, decode, encode
from cov3d.preprocess.pipeline import INTAKE_COLUMNS, RECORD_COLUMNS, Preprocessed, settings
from cov3d.preprocess.sizes import Size

if TYPE_CHECKING:
    import pandas as pd  # only the manifest needs it: a worker is a third smaller without

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
        """Open the store at `folder`, or begin one.

        Raises:
            StoreError: there is one already, made with other settings.
            OutputError: the folder can't be written.
        """
        store = cls(folder, size)
        if not store.settings_file.exists():
            text = json.dumps({"format": FORMAT, "volumes": IN_WORDS, **settings(size)}, indent=2)
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
        """What makes the folder a store."""
        return self.folder / "settings.json"

    def check_settings(self, wanted: dict[str, Any]) -> None:
        """Refuse the store if it was not made with the settings `wanted`, or if its files are of another format."""
        try:
            found = json.loads(self.settings_file.read_text(encoding="utf-8"))
            digest = found["hash"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.settings_file} can't be read: {error}") from error
        found.setdefault("format", FORMAT_BEFORE)
        wanted = {"format": FORMAT, **wanted}
        if digest != wanted["hash"] or found["format"] != FORMAT:
            differing = [key for key in wanted if key != "hash" and wanted[key] != found.get(key)]
            what = ", ".join(f"{key} is {found.get(key)!r}, not {wanted[key]!r}" for key in differing)
            raise StoreError(
                f"the store {self.folder} was made with other settings ({what or 'another version'}): give another "
                f"--store, or delete this one and make it again with cov3d preprocess --size {self.size}"
            )

    @property
    def _writing(self) -> Path:
        return self.folder / ".writing"

    def _aside(self, scan: str) -> Path:
        """The folder in which the files of a scan are written."""
        return self._writing / hashlib.sha256(scan.encode()).hexdigest()[:16]

    def _volume_file(self, scan: str) -> Path:
        return self.folder / "volumes" / f"{scan}{SUFFIX}"

    def _record_file(self, scan: str) -> Path:
        return self.folder / "records" / f"{scan}.json"

    def _preview_file(self, scan: str) -> Path:
        return self.folder / "previews" / f"{scan}.webp"

    def has(self, scan: str) -> bool:
        """Whether the scan is in the store, whole: its record is, and its volume's file is as long as it says."""
        try:
            record = json.loads(self._record_file(scan).read_text(encoding="utf-8"))
            return bool(record["bytes"] == self._volume_file(scan).stat().st_size)
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def write(self, scan: str, preprocessed: Preprocessed) -> None:
        """Put a scan into the store, whole or not at all.

        Raises:
            OutputError: the folder can't be written.
        """
        aside = self._aside(scan)
        for left in reversed(range(_TRIES)):
            try:
                self._write(scan, preprocessed, aside)
            except OutputError:
                # Another process may have been at the same scan, done first, and removed our files with its own.
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
        text = json.dumps({"scan": scan, **preprocessed.record, "bytes": len(encoded)}, ensure_ascii=False) + "\n"
        self._drop_record(scan, unless=text)
        with replacing(self._volume_file(scan), aside) as file:
            file.write_bytes(encoded)
        if preprocessed.preview is not None:
            with replacing(self._preview_file(scan), aside) as file:
                file.write_bytes(preprocessed.preview)
        write_text(self._record_file(scan), text, aside)

    def _persist(self, write: Callable[[], None]) -> None:
        """Write again if the folder for writing was gone: another process may have tidied it up just then."""
        for left in reversed(range(_TRIES)):
            try:
                return write()
            except OutputError:
                if not left:
                    raise

    def _drop_record(self, scan: str, unless: str) -> None:
        """Remove the scan's record, so that none stands beside a volume of another; one like the new one may stay."""
        with suppress(OSError):
            if self._record_file(scan).read_text(encoding="utf-8") == unless:
                return
        try:
            self._record_file(scan).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._record_file(scan)} can't be replaced: {error.strerror}") from error

    def tidy(self) -> None:
        """Remove what is left of processes that were killed, if nobody has written there for a day."""
        with suppress(OSError):
            self._writing.rmdir()  # nothing left, as a rule
            return
        with suppress(OSError):
            now = _time_there(self._writing)
            for left in self._writing.iterdir():
                if now - left.stat().st_mtime > _DAY:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
            self._writing.rmdir()

    def read(self, scan: str) -> NDArray[np.uint8]:
        """The scan's volume, `uint8` (depth, height, width), in memory of its own.

        Raises:
            StoreError: the scan is not in the store, or its file is damaged.
        """
        file = self._volume_file(scan)
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

    def record(self, scan: str) -> dict[str, Any]:
        """The scan's row of the manifest.

        Raises:
            StoreError: it can't be read.
        """
        return _read_record(self._record_file(scan))

    def _record_files(self) -> set[Path]:
        return set((self.folder / "records").rglob("*.json"))

    def manifest(self) -> "pd.DataFrame":
        """A row for every scan in the store, sorted by scan, from their records.

        Raises:
            StoreError: a record can't be read.
        """
        return _table(_read_records(self._record_files(), {}))

    def write_manifest(self, tries: int = 20) -> "pd.DataFrame":
        """Write `manifest.csv` and return it.

        Other processes may be filling the store and writing it too. Whoever writes looks again afterwards whether
        records have come: so the last one to write has seen them all.
        """
        records: dict[Path, dict[str, Any]] = {}
        for _ in range(tries):
            files = self._record_files()
            records = _read_records(files, records)
            table = _table(records)
            text = table.to_csv(index=False, lineterminator="\n")
            self._persist(partial(write_text, self.folder / MANIFEST, text, self._writing))
            if self._record_files() == files:
                break
        self.tidy()
        return table


def _time_there(folder: Path) -> float:
    """The time by the clock of the file system, which may be another machine's."""
    probe = folder / f".{secrets.token_hex(8)}.part"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _table(records: dict[Path, dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(list(records.values()), columns=list(RECORD_COLUMNS))
    return table.sort_values("scan", ignore_index=True)


def _read_records(files: Iterable[Path], known: dict[Path, dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    """The records by file, but for those removed meanwhile because their scan is done again; `known` ones are kept."""
    records = {}
    for file in files:
        try:
            records[file] = known.get(file) or _read_record(file)
        except StoreError:
            if file.exists():
                raise
    return records


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        unknown = dict.fromkeys(INTAKE_COLUMNS, "")
        return {column: (unknown | record)[column] for column in RECORD_COLUMNS}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{file} can't be read ({error}): delete it and preprocess again") from error
