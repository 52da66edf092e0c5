"""`cov3d.evaluate`, `validate` and `compare`: labelled predictions → scores, printed by the caller."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cov3d.api.inputs import elsewhere, path_or_none, scan_table, store_folder
from cov3d.errors import Cov3dError, PredictionsError
from cov3d.evaluation import centres, comparison
from cov3d.evaluation import scores as task_scores
from cov3d.evaluation.comparison import Comparison
from cov3d.evaluation.predictions import check_predictions, load_predictions
from cov3d.evaluation.scores import SPECIFICITY, TaskEvaluation, save_scores
from cov3d.evaluation.summary import Selection, selection_of
from cov3d.inference import validate as validation
from cov3d.inference.origin import write_origin
from cov3d.inference.task import Task
from cov3d.labels import TASKS
from cov3d.listener import SILENT, Listener
from cov3d.processors import default_workers
from cov3d.results import claimed, staged

if TYPE_CHECKING:
    from cov3d.inference.networks import Member
    from cov3d.inference.validate import Validated

Centres = dict[str, dict[str, TaskEvaluation]]


@dataclass(frozen=True)
class ValidationResult:
    """What `validate` found.

    Attributes:
        found: the labelled prediction table and the confusion matrices.
        evaluated: every score with its interval, by task.
        centres: the same by source and task; empty without sources.
        fold: that was scored.
        selection: how the checkpoint's epoch was chosen, if on this fold.
        folder: of the results.
    """

    found: "Validated"
    evaluated: dict[str, TaskEvaluation]
    centres: Centres
    fold: int
    selection: Selection | None
    folder: Path


def evaluate(
    predictions: pd.DataFrame | str | Path,
    *,
    categories: Sequence[str] | None = None,
    seed: int = 0,
    specificity: float = SPECIFICITY,
    sources: str | Path | Mapping[str, str] | None = None,
    listener: Listener = SILENT,
) -> dict[str, TaskEvaluation]:
    """Score a labelled prediction table: F1, areas, calibration and the rest, with 95 % intervals.

    Args:
        predictions: a prediction table with the column `label`, or its file. Scans without a label are left out.
        categories: names of the outputs, in order of severity; by default those that the columns are of.
        seed: of the intervals' resamples.
        specificity: at which the sensitivity to presence is given, from 0 to 1.
        sources: where scans come from, by scan, or a CSV file with the columns `scan,source`: each source is scored
            too, under `<task>, <source>`.
        listener: hears of classes with fewer than ten scans.

    Returns:
        The evaluation of `presence` and of `severity`; one without a scan to score has no scores.

    Raises:
        PredictionsError: the table can't be read, has no labels or other columns, or no scan of it has a source.
    """
    if not 0 <= specificity <= 1:
        raise Cov3dError(f"specificity must be from 0 to 1, not {specificity}")
    if isinstance(predictions, pd.DataFrame):
        table, found_categories = predictions, check_predictions(predictions, "the table of predictions")
    else:
        table, found_categories = load_predictions(Path(predictions))
    if "label" not in table:
        raise PredictionsError("the predictions have no column label, so they can't be scored")
    known = tuple(categories or found_categories)
    if known != found_categories:
        raise PredictionsError(f"the table's categories are {', '.join(found_categories)}, not {', '.join(known)}")
    origin = sources_of(sources, table)
    evaluated = task_scores.evaluate(table, known, seed=seed, specificity=specificity)
    warn_of_small_classes(evaluated, listener)
    by_source = centres.evaluate_centres(dict.fromkeys(TASKS, table), known, origin, seed=seed) if origin else {}
    return evaluated | {f"{task}, {name}": one for name, tasks in by_source.items() for task, one in tasks.items()}


def validate(
    checkpoint: str | Path,
    data: str | Path = ".",
    *,
    fold: int | None = None,
    store: str | Path | None = None,
    table: str | Path | None = None,
    strict: bool = False,
    sources: str | Path | None = None,
    specificity: float = SPECIFICITY,
    seed: int = 0,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    workers: int | None = None,
    listener: Listener = SILENT,
) -> ValidationResult:
    """Predict a labelled fold by a checkpoint, score it, and write tables, scores and pictures.

    Args:
        checkpoint: that `cov3d.train` wrote.
        data: root folder of the dataset.
        fold: to score; by default the one that the checkpoint was validated on.
        store: folder of the preprocessed volumes; by default `preprocessed/<size>` in `data`.
        table: the scan table; by default `scans.csv` in `data`.
        strict: whether a scan table that does not fit the dataset any more is an error.
        sources: a CSV file with the columns `scan,source`: the scores of each source's scans too.
        specificity: at which the sensitivity is given, from 0 to 1.
        seed: of the intervals' resamples.
        output_dir: folder of the results; by default `<checkpoint>-fold-<fold>`, beside the checkpoint.
        overwrite: replace an earlier result there.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: processes that load volumes.
        listener: hears what is done, and what a user should know.

    Raises:
        Cov3dError: bad input. CheckpointError: the file is no checkpoint, or of another dataset. StoreError: a scan is
            not preprocessed. DatasetError, PredictionsError: the scan table or the sources are not as they should be.
            OutputError: the folder holds scores already or can't be written.
    """
    from cov3d.inference import networks
    from cov3d.inference.kept import KeptPredictions
    from cov3d.preprocessing.store import Store
    from cov3d.training.classes import validation_notes
    from cov3d.training.device import choose_device
    from cov3d.training.loaders import choose_fold

    file, root = Path(checkpoint), Path(data)
    target = choose_device(device)
    (member,) = networks.load_members([file], target)
    chosen = member.info.fold if fold is None else fold
    opened = Store.open(store_folder(root, path_or_none(store), member.info.size), member.info.size)
    every = scan_table(root, path_or_none(table), listener, strict=strict)
    validation.check_labels(member.info, every["label"])
    scans = choose_fold(every, chosen).validation
    origin = sources_of(sources, scans, every)
    folder = Path(output_dir or file.with_name(f"{file.stem}-fold-{chosen}"))
    claim = claimed(folder, validation.RESULT_FILES, overwrite=overwrite, what="scores", command="cov3d validate")
    with elsewhere("--output-dir", output_dir), claim:
        listener.warn_of_all(validation_notes(scans["label"], chosen), most=None)
        kept = KeptPredictions(folder, [] if member.file is None else [member.file])
        processes = default_workers(workers, target.type)
        found = validation.validate(member, scans, opened, kept=kept, device=target, workers=processes)
        made = _write_validated(found, member, file, chosen, folder, origin, seed, specificity, listener)
        kept.remove()
    return made


def _write_validated(
    found: "Validated",
    member: "Member",
    checkpoint: Path,
    fold: int,
    folder: Path,
    origin: Mapping[str, str],
    seed: int,
    specificity: float,
    listener: Listener,
) -> ValidationResult:
    """Score what was predicted and write it; an earlier result stays until this one is complete."""
    from cov3d.reports import score_figures
    from cov3d.training.checkpoint import seen_in_training

    info = member.info
    if seen := seen_in_training(info, found.table["scan"]):
        count = len(found.table)
        listener.warn(f"trained on {seen} of the {count} scans of fold {fold}: the scores are too high")
    if info.temperature not in (None, 1.0):
        listener.say(
            f"probabilities are scaled by temperature {info.temperature:.3g}, which crossval fitted for {info.task}; "
            "the calibration of the other task may be worse than without it"
        )
    evaluated = task_scores.evaluate(found.table, info.categories, seed=seed, specificity=specificity)
    selection = selection_of(checkpoint.parent, info.task, info.epoch) if fold == info.fold else None
    chosen = selection and selection.as_dict()
    with staged(folder, validation.RESULT_FILES) as to:
        validation.save_validated(found, to)
        write_origin(to, networks=[checkpoint.name], seen_in_training=seen if info.trained_on else None)
        save_scores(evaluated, to, {"fold": fold, "selection": chosen, "seed": seed, "specificity": specificity})
        score_figures.save_pictures(evaluated, to)
        by_source = score_sources(dict.fromkeys(TASKS, found.table), info.categories, origin, to, seed)
    return ValidationResult(found, evaluated, by_source, fold, selection, folder)


def compare(
    a: str | Path,
    b: str | Path,
    *,
    task: str = Task.BOTH,
    seed: int = 0,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Comparison]:
    """Compare two models on the same scans: difference of macro F1, its 95 % interval, p of a permutation test.

    Args:
        a, b: folders of runs or of cross-validations, or labelled prediction tables.
        task: `presence`, `severity` or `both`.
        seed: of resamples and permutations.
        output_dir: folder for `comparison.json` and `comparison.csv`; by default nothing is written.
        overwrite: replace an earlier comparison there.

    Returns:
        The comparison, by task.

    Raises:
        PredictionsError: one has no prediction table, or they do not fit together.
        OutputError: the folder holds a comparison already, or can't be written.
    """
    from cov3d.api.arguments import choice

    folder = path_or_none(output_dir)
    tasks = tasks_of(choice(Task, task, "task"))
    with ExitStack() as stack:
        if folder is not None:
            files = comparison.RESULT_FILES
            claim = claimed(folder, files, overwrite=overwrite, what="a comparison", command="cov3d compare")
            stack.enter_context(claim)
        found = {one.value: comparison.compare_runs(Path(a), Path(b), one, seed=seed) for one in tasks}
        if folder is not None:
            with staged(folder, comparison.RESULT_FILES) as to:
                comparison.save(found, to, seed)
    return found


def tasks_of(task: Task) -> list[Task]:
    """The single tasks that are meant."""
    return [each for each in (Task.PRESENCE, Task.SEVERITY) if task in (Task.BOTH, each)]


def sources_of(
    given: str | Path | Mapping[str, str] | None, scans: pd.DataFrame, table: pd.DataFrame | None = None
) -> Mapping[str, str]:
    """Where scans come from, by scan: as given, else by the column `centre` of the scan table; empty without both.

    Args:
        given: by scan, or a CSV file with the columns `scan,source`.
        scans: a table with the column `scan`.
        table: the scan table, where there is one.
    """
    if given is None:
        return {} if table is None else centres.centres_of(table, scans)
    found = given if isinstance(given, Mapping) else centres.load_sources(Path(given))
    centres.check_sources(scans["scan"], found)
    return found


def score_sources(
    tables: Mapping[str, pd.DataFrame],
    categories: Sequence[str],
    sources: Mapping[str, str],
    folder: Path,
    seed: int = 0,
) -> Centres:
    """Score each source's scans and write them to the folder's `centres.csv`; nothing where no source is known."""
    if not sources:
        return {}
    found = centres.evaluate_centres(tables, categories, sources, seed=seed)
    centres.save_centres(found, folder / centres.FILE_NAME)
    return found


def warn_of_small_classes(found: Mapping[str, TaskEvaluation] | Mapping[str, Comparison], listener: Listener) -> None:
    """Warn of classes with fewer than ten scans, by task."""
    for task, result in found.items():
        if small := result.predictions.small:
            counts = ", ".join(f"{count} {name}" for name, count in small.items())
            listener.warn(
                f"{task}: fewer than 10 scans of a class ({counts}): its score and its interval are unreliable"
            )
