"""Commands on labelled predictions: `validate` makes them and scores them, `compare` sets two side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, out, say
from cov3d.inference.task import Task

if TYPE_CHECKING:
    from cov3d.api.evaluation import ValidationResult
    from cov3d.evaluation.comparison import Comparison
    from cov3d.inference.validate import Validated


def validate(
    self: object,
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
        help="Specificity at which the sensitivity is reported.",
        rich_help_panel=options.OUTPUT,
    ),
    seed: int = Param(0, min=0, help="Random seed of the intervals' resamples.", rich_help_panel=options.OUTPUT),
    output_dir: Path = Param(
        None,
        help="Folder of the results.",
        show_default="<checkpoint>-fold-<fold>, beside the checkpoint",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    device: str = options.device(),
    workers: int = options.workers(),
    **kwargs: Unpack[options.ScanTableOptions],
) -> "Validated":
    """Score a checkpoint on a fold: F1, areas, calibration, with 95 % intervals; confusion matrices, pictures."""
    from cov3d.api import evaluation

    made = evaluation.validate(
        checkpoint,
        fold=fold,
        store=store,
        sources=sources,
        specificity=specificity,
        seed=seed,
        output_dir=output_dir,
        overwrite=overwrite,
        device=device,
        workers=workers,
        listener=Printer(),
        **kwargs,
    )
    _show_validated(made)
    say(f"results in {made.folder}")
    say(RESEARCH_ONLY)
    return made.found


def _show_validated(made: "ValidationResult") -> None:
    from cov3d.api.evaluation import warn_of_small_classes
    from cov3d.reports.tables import centre_table, confusion_table, evaluation_table

    for task, evaluation in made.evaluated.items():
        out().print(evaluation_table(evaluation, f"{task}, fold {made.fold}", made.selection, task))
        out().print(confusion_table(evaluation.result, f"{task}, scans"))
    if made.centres:
        out().print(centre_table(made.centres))
    warn_of_small_classes(made.evaluated, Printer())


def compare(
    self: object,
    run_a: Path = typer.Argument(..., help="Folder of a run or a cross-validation, or a labelled prediction table."),
    run_b: Path = typer.Argument(..., help="Another one, of the same scans."),
    task: Task = Param(Task.BOTH, help="What to compare.", rich_help_panel=options.INPUT),
    seed: int = Param(0, min=0, help="Random seed of resamples and permutations.", rich_help_panel=options.OUTPUT),
    output_dir: Path = Param(
        None,
        help="Folder for comparison.json and comparison.csv.",
        show_default="print only",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
) -> "dict[str, Comparison]":
    """Compare two models on the same scans: difference of macro F1, 95 % interval, p-value of a permutation test.

    Of a run's folder, the predictions of its best epoch on its fold; of a cross-validation's, those of all folds.
    """
    from cov3d.api import evaluation
    from cov3d.reports.tables import comparison_table

    found = evaluation.compare(run_a, run_b, task=task, seed=seed, output_dir=output_dir, overwrite=overwrite)
    for name, result in found.items():
        a, b = result.files
        count = len(result.predictions)
        title = f"{name}: A = {a}, B = {b}; their predictions differ on {result.differing} of {count} scans"
        out().print(comparison_table(result, title))
    evaluation.warn_of_small_classes(found, Printer())
    say("p: paired permutation test, two-sided, of macro F1")
    if output_dir is not None:
        say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    return found
