"""What the runs on all folds found, and its files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cov3d.api.evaluation import score_sources, warn_of_small_classes
from cov3d.errors import OutputError
from cov3d.evaluation import crossval as crossvalidation
from cov3d.evaluation.crossval import Calibration, CrossValidation
from cov3d.evaluation.scores import TaskEvaluation
from cov3d.inference.origin import seen_by_runs, write_origin
from cov3d.listener import Listener
from cov3d.reports.score_figures import save_pictures
from cov3d.reports.tables import number
from cov3d.results import staged
from cov3d.run_files import checkpoint_name
from cov3d.training import checkpoint


@dataclass(frozen=True)
class CrossValidationResult:
    """What was collected.

    Attributes:
        folder: where it was written.
        found: out-of-fold tables, scores by task and fold, temperatures.
        centres: every score by source and task; empty where the sources are not known.
    """

    folder: Path
    found: CrossValidation
    centres: Mapping[str, Mapping[str, TaskEvaluation]]


def collect(
    runs: Mapping[int, Path], folder: Path, sources: Mapping[str, str], listener: Listener, *, temperature: bool
) -> CrossValidationResult:
    """Put the runs together in `folder`; what was collected before stays until the new results are complete.

    Args:
        runs: their folders, by fold.
        folder: of the results.
        sources: the source of each scan; empty where they are not known.
        listener: hears of small classes and of the temperatures.
        temperature: write the temperatures into the runs' checkpoints.

    Raises:
        Cov3dError: a run can't be read, or a result can't be written.
    """
    found = crossvalidation.collect(runs)
    with staged(folder, crossvalidation.RESULT_FILES) as to:
        crossvalidation.save(found, to)
        save_pictures(found.pooled, to)
        seen = seen_by_runs(runs)
        networks = [Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix() for run in runs.values()]
        write_origin(to, networks=networks, seen_in_training=seen)
        by_source = score_sources(found.tables, found.categories, sources, to)
    warn_of_small_classes(found.pooled, listener)
    for task, calibration in found.calibration.items() if temperature else ():
        _use_temperature(task, calibration, runs, listener)
    return CrossValidationResult(folder, found, by_source)


def temperature_sentence(task: str, calibration: Calibration) -> str:
    """A task's temperature and its effect on the scores."""
    fitted = calibration.temperature
    errors = f"calibration error {number(calibration.error_before)}, with it {number(calibration.error_after)}"
    scores = f"macro F1 {number(calibration.f1_before)}, with it {number(calibration.f1_after)}"
    return (
        f"{task}: temperature {fitted.value:.3g}, fitted on {fitted.scans} scans; {errors}; {scores} (each fold with "
        "the temperature of the other folds; small differences may be chance)"
    )


def _use_temperature(task: str, calibration: Calibration, runs: Mapping[int, Path], listener: Listener) -> None:
    """Write a temperature into the checkpoints of its task, or 1 where it does harm."""
    if calibration.harm:
        listener.warn(f"{task}: the temperature is not written: {calibration.harm}")
    for folder in runs.values():
        file = folder / checkpoint_name(task)
        try:
            if file.exists() and not calibration.harm:
                checkpoint.write_temperature(file, calibration.temperature.value)
            elif file.exists() and checkpoint.read_info(file).temperature is not None:
                checkpoint.write_temperature(file, 1.0)  # that of an earlier collection
        except OutputError as error:  # runs of others, which may only be read
            listener.warn(f"{task}: the temperature is not written: {error}; copy the runs, or give --no-temperature")
