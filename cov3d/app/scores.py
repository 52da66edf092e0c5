"""Commands on labelled predictions: `validate` makes them and scores them, `compare` sets two side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, out, say, say_warning
from cov3d.app.data import store_folder
from cov3d.inference.task import Task
from cov3d.labels import TASKS


def validate(
    self: Any,
    checkpoint: Path = Param(..., help="A checkpoint that `cov3d train` wrote.", rich_help_panel=options.INPUT),
    fold: int = Param(
        None,
        min=0,
        max=4,
        help="Fold to score.",
        show_default="the one it was validated on",
        rich_help_panel=options.INPUT,
    ),
    store: Path = options.store(),
    sources: Path = options.sources(),
    specificity: float = Param(
        0.95,
        min=0.0,
        max=1.0,
        help="Specificity at which the sensitivity is given.",
        rich_help_panel=options.OUTPUT,
    ),
    seed: int = Param(0, min=0, help="Of the intervals' resamples.", rich_help_panel=options.OUTPUT),
    output_dir: Path = Param(
        None,
        help="Folder of the results.",
        show_default="<checkpoint>-fold-<fold>, beside the checkpoint",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    device: str = options.device(),
    workers: int = options.workers(),
    **kwargs: Any,
) -> Any:
    """Score a checkpoint on a fold: F1, areas, calibration, with 95 % intervals; confusion matrices, pictures."""
    from cov3d.files import claim_folder
    from cov3d.inference import validate as validation
    from cov3d.inference.origin import write_origin
    from cov3d.inference.predict import load_members
    from cov3d.preprocess.store import Store
    from cov3d.reports import scores
    from cov3d.reports.score_figures import save_pictures
    from cov3d.reports.tables import confusion_table, evaluation_table
    from cov3d.training.checkpoint import seen_in_training
    from cov3d.training.device import choose_device
    from cov3d.training.loaders import choose_fold
    from cov3d.training.summary import selection_of

    target = choose_device(device)
    (member,) = load_members([checkpoint], target)
    info = member.info
    chosen = info.fold if fold is None else fold
    data: Path = kwargs["data"]
    opened = Store.open(store_folder(data, store, info.size), info.size)
    table = self.scan_table(**kwargs)
    validation.check_labels(info, table["label"])
    scans = choose_fold(table, chosen).validation
    origin = read_sources(sources, scans, table)
    folder = output_dir or checkpoint.with_name(f"{checkpoint.stem}-fold-{chosen}")
    claim_folder(folder, validation.RESULT_FILES, overwrite=overwrite, what="scores")
    if seen := seen_in_training(info, scans["scan"]):
        say_warning(f"the checkpoint was trained on {seen} of the {len(scans)} scans of fold {chosen}: scores flatter")
    found = validation.validate(
        member,
        scans,
        opened,
        device=target,
        workers=options.default_workers(workers, target.type),
    )
    evaluated = scores.evaluate(found.table, info.categories, seed=seed, specificity=specificity)
    selection = selection_of(checkpoint, info, chosen)
    said = selection and selection.as_dict()
    validation.save_validated(found, folder)
    write_origin(folder, networks=[checkpoint.name], seen_in_training=seen if info.trained_on else None)
    scores.save_scores(evaluated, folder, {"fold": chosen, "selection": said, "seed": seed, "specificity": specificity})
    save_pictures(evaluated, folder)
    console = out()
    for task, evaluation in evaluated.items():
        console.print(evaluation_table(evaluation, f"{task}, fold {chosen}", selection, task))
        console.print(confusion_table(evaluation.result, f"{task}, scans"))
    score_centres(dict.fromkeys(TASKS, found.table), info.categories, origin, folder, seed)
    warn_of_small_classes({task: evaluation.calls.small for task, evaluation in evaluated.items()})
    say(f"results in {folder}")
    say(RESEARCH_ONLY)
    return found


def compare(
    self: Any,
    run_a: Path = typer.Argument(..., help="Folder of a run or a cross-validation, or a labelled prediction table."),
    run_b: Path = typer.Argument(..., help="Another, of the same scans."),
    task: Task = Param(Task.BOTH, help="What to compare.", rich_help_panel=options.INPUT),
    seed: int = Param(0, min=0, help="Of resamples and permutations.", rich_help_panel=options.OUTPUT),
    output_dir: Path = Param(
        None,
        help="Folder for comparison.json and comparison.csv.",
        show_default="print only",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
) -> Any:
    """Compare two models on the same scans: difference of macro F1, 95 % interval, p-value of a permutation test.

    Of a run's folder, the predictions of its best epoch on its fold; of a cross-validation's, those of all folds.
    """
    from cov3d.files import claim_folder
    from cov3d.reports import comparison
    from cov3d.reports.tables import comparison_table

    tasks = [Task.PRESENCE, Task.SEVERITY] if task == Task.BOTH else [task]
    found = {str(one): comparison.compare_runs(run_a, run_b, one, seed=seed) for one in tasks}
    if output_dir is not None:
        claim_folder(output_dir, comparison.RESULT_FILES, overwrite=overwrite, what="a comparison")
    for name, result in found.items():
        a, b = result.files
        title = f"{name}: A = {a}, B = {b}; their calls differ on {result.differing} of {len(result.calls)} scans"
        out().print(comparison_table(result, title))
    warn_of_small_classes({name: result.calls.small for name, result in found.items()})
    say("p: paired permutation test, two-sided, of macro F1")
    if output_dir is not None:
        comparison.save(found, output_dir, seed)
        say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    return found


def read_sources(file: Path | None, scans: Any, table: Any) -> dict[str, str]:
    """Where scans come from, by scan: by a table of sources, else by the column `centre` of the scan table.

    Args:
        file: the table of sources, if one is given.
        scans: a table of the scans.
        table: the scan table, or its file; a file that is missing or can't be read is no error.
    """
    from cov3d.datasets import scan_table as tables
    from cov3d.errors import DatasetError
    from cov3d.reports import centres

    if file is not None:
        found = centres.load_sources(file)
        centres.check_sources(scans["scan"], found)
        return found
    if not isinstance(table, Path):
        return centres.centres_of(table, scans)
    try:
        return centres.centres_of(tables.load(table), scans) if table.is_file() else {}
    except DatasetError as error:
        say_warning(f"no scores by centre: {error}")
        return {}


def score_centres(
    tables: Mapping[str, Any], categories: Sequence[str], sources: Mapping[str, str], folder: Path, seed: int = 0
) -> None:
    """Score each source's scans, if sources are known: to the folder's centres.csv, in place of an earlier one."""
    from cov3d.reports import centres
    from cov3d.reports.tables import centre_table

    (folder / centres.FILE_NAME).unlink(missing_ok=True)
    if sources:
        found = centres.evaluate_centres(tables, categories, sources, seed=seed)
        centres.save_centres(found, folder / centres.FILE_NAME)
        out().print(centre_table(found))


def warn_of_small_classes(found: Mapping[str, Mapping[str, int]]) -> None:
    """Warn of classes with fewer than ten scans, by task."""
    for task, small in found.items():
        if small:
            counts = ", ".join(f"{count} {name}" for name, count in small.items())
            say_warning(f"{task}: fewer than 10 scans of a class ({counts}): its score and its interval say little")
