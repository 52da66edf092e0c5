"""Commands on labelled predictions: `validate` makes them and scores them, `compare` sets two side by side."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
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
    from cov3d.inference import validate as validation
    from cov3d.inference.kept import KeptPredictions
    from cov3d.inference.predict import load_members
    from cov3d.preprocessing.store import Store
    from cov3d.results import claimed
    from cov3d.training.classes import validation_notes
    from cov3d.training.device import choose_device
    from cov3d.training.loaders import choose_fold

    target = choose_device(device)
    (member,) = load_members([checkpoint], target)
    info = member.info
    chosen = info.fold if fold is None else fold
    data: Path = kwargs["data"]
    opened = Store.open(store_folder(data, store, info.size), info.size)
    table = self.scan_table(**kwargs)
    validation.check_labels(info, table["label"])
    scans = choose_fold(table, chosen).validation
    origin = read_sources(sources, scans["scan"]) if sources else {}
    folder = output_dir or checkpoint.with_name(f"{checkpoint.stem}-fold-{chosen}")
    how: dict[str, Any] = {"overwrite": overwrite, "what": "scores", "command": "cov3d validate"}
    with options.elsewhere("--output-dir", output_dir), claimed(folder, validation.RESULT_FILES, **how):
        for note in validation_notes(scans["label"], chosen):
            say_warning(note)
        kept = KeptPredictions(folder, [] if member.file is None else [member.file])
        found = validation.validate(
            member,
            scans,
            opened,
            device=target,
            workers=options.default_workers(workers, target.type),
            kept=kept,
        )
        _write_validated(found, member.info, checkpoint, chosen, folder, origin, seed, specificity)
        kept.remove()
    say(f"results in {folder}")
    say(RESEARCH_ONLY)
    return found


def _write_validated(
    found: Any,
    info: Any,
    checkpoint: Path,
    fold: int,
    folder: Path,
    origin: Mapping[str, str],
    seed: int,
    specificity: float,
) -> None:
    """Score what was predicted, print it and write it; an earlier result stays until this one is complete."""
    from cov3d.evaluation import scores
    from cov3d.evaluation.summary import selection_of
    from cov3d.inference import validate as validation
    from cov3d.inference.origin import write_origin
    from cov3d.reports.score_figures import save_pictures
    from cov3d.reports.tables import confusion_table, evaluation_table
    from cov3d.results import staged
    from cov3d.training.checkpoint import seen_in_training

    if seen := seen_in_training(info, found.table["scan"]):
        count = len(found.table)
        say_warning(f"the checkpoint was trained on {seen} of the {count} scans of fold {fold}: scores flatter")
    evaluated = scores.evaluate(found.table, info.categories, seed=seed, specificity=specificity)
    selection = selection_of(checkpoint.parent, info.task, info.epoch) if fold == info.fold else None
    said = selection and selection.as_dict()
    with staged(folder, validation.RESULT_FILES) as to:
        validation.save_validated(found, to)
        write_origin(to, networks=[checkpoint.name], seen_in_training=seen if info.trained_on else None)
        scores.save_scores(evaluated, to, {"fold": fold, "selection": said, "seed": seed, "specificity": specificity})
        save_pictures(evaluated, to)
        console = out()
        for task, evaluation in evaluated.items():
            console.print(evaluation_table(evaluation, f"{task}, fold {fold}", selection, task))
            console.print(confusion_table(evaluation.result, f"{task}, scans"))
        score_centres(dict.fromkeys(TASKS, found.table), info.categories, origin, to, seed)
    warn_of_small_classes({task: evaluation.calls.small for task, evaluation in evaluated.items()})


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
    from cov3d.evaluation import comparison
    from cov3d.reports.tables import comparison_table
    from cov3d.results import claimed, staged

    tasks = [Task.PRESENCE, Task.SEVERITY] if task == Task.BOTH else [task]
    with ExitStack() as stack:
        if output_dir is not None:
            how: dict[str, Any] = {"overwrite": overwrite, "what": "a comparison", "command": "cov3d compare"}
            stack.enter_context(claimed(output_dir, comparison.RESULT_FILES, **how))
        found = {str(one): comparison.compare_runs(run_a, run_b, one, seed=seed) for one in tasks}
        if output_dir is not None:
            with staged(output_dir, comparison.RESULT_FILES) as to:
                comparison.save(found, to, seed)
    for name, result in found.items():
        a, b = result.files
        title = f"{name}: A = {a}, B = {b}; their calls differ on {result.differing} of {len(result.calls)} scans"
        out().print(comparison_table(result, title))
    warn_of_small_classes({name: result.calls.small for name, result in found.items()})
    say("p: paired permutation test, two-sided, of macro F1")
    if output_dir is not None:
        say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    return found


def read_sources(file: Path, scans: Iterable[str]) -> dict[str, str]:
    """Where these scans come from, by scan."""
    from cov3d.evaluation import centres

    found = centres.load_sources(file)
    centres.check_sources(scans, found)
    return found


def score_centres(
    tables: Mapping[str, Any], categories: Sequence[str], sources: Mapping[str, str], folder: Path, seed: int = 0
) -> None:
    """Score each source's scans, if sources are known: to the folder's centres.csv."""
    from cov3d.evaluation import centres
    from cov3d.reports.tables import centre_table

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
