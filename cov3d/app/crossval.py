"""The command `crossval`: one configuration on all of its folds, and what that says of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchapp import Param

from cov3d.app import options, tracking
from cov3d.app.console import Printer, out, say

if TYPE_CHECKING:
    from cov3d.api.crossval_result import CrossValidationResult


def crossval(
    self: object,
    store: Path = options.store(),
    sources: Path = options.sources(),
    runs: Path = Param(
        None,
        help="Folder of the runs. A fold whose run is in it is not trained again: a run is known by its options, "
        "whatever the name of its folder.",
        show_default="DATA/runs",
        rich_help_panel=options.OUTPUT,
    ),
    collect: bool = Param(
        False,
        help="Collect the finished runs of all folds. Never train; if a run is missing, name it.",
        rich_help_panel=options.OUTPUT,
    ),
    output_dir: Path = Param(
        None,
        help="Folder of what is collected from the runs.",
        show_default="RUNS/crossval_<experiment or options, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    temperature: bool = Param(
        True,
        help="Fit a temperature on the out-of-fold predictions and write it into the runs' checkpoints, unless it "
        "lowers macro F1.",
        rich_help_panel=options.OUTPUT,
    ),
    **kwargs: Any,
) -> "CrossValidationResult | None":
    """Train a configuration on each of the five folds in turn, and put what the runs found together.

    With --fold, train on that one only, as in a job of an array; then the command with --collect collects. Finished
    folds are skipped and interrupted ones resumed; a run of another scan table is refused.
    """
    from cov3d.api import crossval

    result = crossval.crossval(
        runs=runs,
        collect=collect,
        output_dir=output_dir,
        temperature=temperature,
        sources=sources,
        store=store,
        trackers=tracking.take(kwargs),
        listener=Printer(),
        **kwargs,
    )
    if result is not None:
        _show(result, temperature=temperature)
    return result


def _show(result: "CrossValidationResult", *, temperature: bool) -> None:
    from cov3d.api.crossval_result import temperature_sentence
    from cov3d.reports.tables import centre_table, evaluation_table, fold_scores_table

    found = result.found
    out().print(fold_scores_table(found))
    for task, evaluation in found.pooled.items():
        out().print(evaluation_table(evaluation, f"{task}, out of fold, all folds pooled"))
    if result.centres:
        out().print(centre_table(result.centres))
    for task, calibration in found.calibration.items() if temperature else ():
        say(temperature_sentence(task, calibration))
    say("A score selected on a fold is optimistic: the epoch was chosen for it.")
    say(f"out-of-fold predictions and scores in {result.folder}")
