"""The scans of `cov3d.predict`: found in files and folders, or in a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cov3d.errors import Cov3dError
from cov3d.inference.names import name_scans
from cov3d.inference.naming import NameBy
from cov3d.inference.short_names import ShortNames
from cov3d.preprocessing.store import Store
from cov3d.readers import LeftOut, discover


@dataclass(frozen=True)
class Inputs:
    """The path of each scan by name, the other files and folders that were given, and short names if wanted."""

    scans: dict[str, Path]
    left_out: tuple[LeftOut, ...] = ()
    passed_over: tuple[LeftOut, ...] = ()
    short: ShortNames | None = None

    def without_paths(self, failed: Mapping[str, str]) -> dict[str, str]:
        """The reasons of scans that failed, without paths if short names are wanted."""
        if self.short is None:
            return dict(failed)
        return {scan: self.short.hide_in(reason, self.scans[scan], scan) for scan, reason in failed.items()}


def find(given: Sequence[Path], series: str, name_by: NameBy) -> Inputs:
    """The scans in files and folders, named after their paths or their series.

    Raises:
        ScanError: no scan is found, a path does not exist, or one series was given twice.
    """
    discovered = discover(given, series)
    short = ShortNames(given) if name_by == NameBy.SERIES else None
    left_out, passed_over = (_named(entries, short) for entries in (discovered.left_out, discovered.passed_over))
    return Inputs(name_scans(discovered.scans, name_by), left_out, passed_over, short)


def _named(entries: Sequence[LeftOut], short: ShortNames | None) -> tuple[LeftOut, ...]:
    """Entries by path, or by short names."""
    return tuple(entries) if short is None else tuple(sorted(map(short.hide, entries), key=str))


def stored(store: Store) -> Inputs:
    """The volumes of a store.

    Raises:
        Cov3dError: it has none.
    """
    names = list(store.manifest()["scan"])
    if not names:
        raise Cov3dError(f"{store.folder} holds no volumes: run cov3d preprocess first")
    return Inputs({scan: store.volume_file(scan) for scan in sorted(names)})
