"""Find the folders for a report: runs, cross-validations and predictions, in the folders that the user gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cov3d.datasets.scan_table import FILE_NAME
from cov3d.errors import PredictionsError
from cov3d.evaluation.crossval import FOLD_SCORES
from cov3d.run_files import PREDICTIONS, is_run, runs_below


class SourceKind(StrEnum):
    """The content of a folder."""

    RUN = "run"
    CROSSVAL = "cross-validation"
    PREDICTIONS = "predictions"


@dataclass(frozen=True)
class Source:
    """A folder that the report shows."""

    folder: Path
    kind: SourceKind


def find_sources(folders: Sequence[Path]) -> list[Source]:
    """The sources of a report: each folder itself, or the runs and cross-validations in it and its subfolders.

    Raises:
        PredictionsError: a folder has no results.
    """
    found: dict[Path, Source] = {}
    for folder in folders:
        kind = _kind(folder)
        below = [Source(folder, kind)] if kind else [*sources_below(folder), *_predictions_below(folder)]
        if not below:
            problem = "has no run, cross-validation or predictions" if folder.is_dir() else "is not a folder"
            raise PredictionsError(f"{folder} {problem}: give the folder of a run, or a folder of such folders")
        for source in below:
            found.setdefault(source.folder.resolve(), source)
    return list(found.values())


def _kind(folder: Path) -> SourceKind | None:
    if is_run(folder):
        return SourceKind.RUN
    if (folder / FOLD_SCORES).is_file():
        return SourceKind.CROSSVAL
    return SourceKind.PREDICTIONS if (folder / PREDICTIONS).is_file() else None


def sources_below(folder: Path) -> list[Source]:
    """The cross-validations and runs in a folder and its subfolders; empty if the folder is missing."""
    crossvals = sorted(file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{FOLD_SCORES}"))
    return [
        *(Source(path, SourceKind.CROSSVAL) for path in crossvals),
        *(Source(path, SourceKind.RUN) for path in runs_below(folder)),
    ]


def _predictions_below(folder: Path) -> list[Source]:
    """The folders of predictions in a folder."""
    return [Source(file.parent, SourceKind.PREDICTIONS) for file in sorted(folder.glob(f"*/{PREDICTIONS}"))]


def dataset_of(folders: Sequence[Path]) -> Path:
    """The dataset of the folders: the nearest parent folder with a scan table, else the current folder."""
    above = [parent for folder in folders for parent in (folder, *folder.parents, *folder.resolve().parents)]
    return next((parent for parent in above if (parent / FILE_NAME).is_file()), Path())
