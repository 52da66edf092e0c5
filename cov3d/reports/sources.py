"""What a person names, or nothing → the folders that a report is made of: runs, cross-validations, predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cov3d.datasets.scan_table import FILE_NAME
from cov3d.errors import PredictionsError
from cov3d.evaluation.crossval import FOLD_SCORES
from cov3d.run_files import PREDICTIONS, is_run, runs_below


class Kind(StrEnum):
    """What a folder holds."""

    RUN = "run"
    CROSSVAL = "cross-validation"
    PREDICTIONS = "predictions"


@dataclass(frozen=True)
class Source:
    """A folder that the report is made of."""

    folder: Path
    kind: Kind


def find_sources(folders: Sequence[Path]) -> list[Source]:
    """What there is to report: each folder itself, or the runs and cross-validations in it and in folders in it.

    Raises:
        PredictionsError: a folder holds none.
    """
    found: dict[Path, Source] = {}
    for folder in folders:
        kind = _kind(folder)
        below = [Source(folder, kind)] if kind else [*sources_below(folder), *_predictions_below(folder)]
        if not below:
            lacks = "holds no run, cross-validation or predictions" if folder.is_dir() else "is no folder"
            raise PredictionsError(f"{folder} {lacks}: give the folder of a run, or a folder of such folders")
        for source in below:
            found.setdefault(source.folder.resolve(), source)
    return list(found.values())


def _kind(folder: Path) -> Kind | None:
    if is_run(folder):
        return Kind.RUN
    if (folder / FOLD_SCORES).is_file():
        return Kind.CROSSVAL
    return Kind.PREDICTIONS if (folder / PREDICTIONS).is_file() else None


def sources_below(folder: Path) -> list[Source]:
    """The cross-validations and the runs in a folder and in folders in it; none where it is missing."""
    crossvals = sorted(file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{FOLD_SCORES}"))
    return [
        *(Source(path, Kind.CROSSVAL) for path in crossvals),
        *(Source(path, Kind.RUN) for path in runs_below(folder)),
    ]


def _predictions_below(folder: Path) -> list[Source]:
    """The folders of predictions in a folder."""
    return [Source(file.parent, Kind.PREDICTIONS) for file in sorted(folder.glob(f"*/{PREDICTIONS}"))]


def dataset_of(folders: Sequence[Path]) -> Path:
    """The dataset that folders lie in: the nearest folder above one of them with a scan table; else this folder."""
    above = [parent for folder in folders for parent in (folder, *folder.parents, *folder.resolve().parents)]
    return next((parent for parent in above if (parent / FILE_NAME).is_file()), Path())
