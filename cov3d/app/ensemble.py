"""The command `ensemble`: prediction tables in, their mean and its scores out; and which of them to average."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, out, say, say_warning
from cov3d.inference.task import Task
from cov3d.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from cov3d.api.ensembles import EnsembleResult
    from cov3d.inference.selection import EnsembleSelection

SELECTION = "Selection"


def ensemble(
    self: object,
    predictions: list[Path] = typer.Argument(
        None,
        help="What to average: prediction tables, or folders that hold a predictions.csv; folders of crossval; or "
        "runs or their checkpoints, which stand for their validation tables. Runs that differ in the fold only are one "
        "member.",
    ),
    name: str = Param(
        None,
        help="One of the paper's ensembles, EP1 to EP4 or ES1 to ES4, made from the runs of its experiments.",
        rich_help_panel=options.INPUT,
    ),
    data: Path = options.data(),
    runs: Path = Param(
        None, help="With --name: the folder of the runs.", show_default="DATA/runs", rich_help_panel=options.INPUT
    ),
    fold: list[int] = Param(
        None,
        min=0,
        max=4,
        help="With --name: the fold; several are pooled.",
        show_default="0",
        rich_help_panel=options.INPUT,
    ),
    all_folds: bool = Param(False, help="With --name: all five folds.", rich_help_panel=options.INPUT),
    task: Task = Param(
        Task.BOTH,
        help="The task: whose table of a run or a cross-validation is used, and whose macro F1 a selection "
        "maximises. --name implies it.",
        rich_help_panel=options.INPUT,
    ),
    temperature: bool = Param(
        None,
        help="Apply the temperatures that crossval fitted to the tables of runs.",
        show_default="applied; not with --name, as the paper has none",
        rich_help_panel=options.INPUT,
    ),
    sources: Path = options.sources(),
    select_members: bool = Param(
        False, help="Choose among the members, greedily, by the macro F1 of the task.", rich_help_panel=SELECTION
    ),
    select_threshold: bool = Param(
        False, help="Choose the threshold of the positive probability.", rich_help_panel=SELECTION
    ),
    out_of_fold: bool = Param(
        False,
        help="Allow tables of unknown origin. You confirm that the networks were not trained on these scans.",
        rich_help_panel=SELECTION,
    ),
    seed: int = Param(
        0,
        min=0,
        help="Random seed of the intervals' resamples and of the fifths that a selection is scored on.",
        rich_help_panel=options.OUTPUT,
    ),
    output_dir: Path = Param(Path("ensemble"), help="Folder of the results.", rich_help_panel=options.OUTPUT),
    overwrite: bool = options.overwrite(),
) -> "pd.DataFrame":
    """Average predictions: probabilities for the presence, conditional ones of each severity for the severity.

    Members may be of any network and size, but must predict the same scans. Where labels are known, the mean is scored.
    """
    from cov3d.api import ensembles

    made = ensembles.ensemble(
        predictions or [],
        name=name,
        data=data,
        runs=runs,
        folds=fold or [],
        all_folds=all_folds,
        task=task,
        temperature=temperature,
        sources=sources,
        select_members=select_members,
        select_threshold=select_threshold,
        out_of_fold=out_of_fold,
        seed=seed,
        output_dir=output_dir,
        overwrite=overwrite,
    )
    _show(made)
    say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    return made.table


def _show(made: "EnsembleResult") -> None:
    from cov3d.api.ensembles import SET_FILE

    _show_members(made)
    if made.evaluated:
        _show_scores(made)
        _show_folds(made)
    if made.selection:
        _show_selection(made, made.selection)
    if made.submission_set:
        say(f"{made.submit_command} makes a submission of it")
    else:
        say(f"no {SET_FILE} for cov3d submit: {made.no_set}")


def _show_members(made: "EnsembleResult") -> None:
    say(f"the mean of {counted(len(made.members), 'member')}, of {counted(len(made.table), 'scan')}:")
    for member in made.members:
        files = f"{len(member.files)} folds" if len(member.files) > 1 else str(member.files[0])
        say(f"  {member.name}" if files == member.name else f"  {member.name} ({files})")
        for temperature, tables in Counter(member.temperatures.values()).items():
            of = f"{tables} tables" if tables > 1 else "the table"
            say(f"    {of} at temperature {temperature:.3g}, as its checkpoint{'s' * (tables > 1)} would predict")
        if member.seen:
            say_warning(f"{member.name} was trained on {member.seen} of these scans: scores are optimistic")


def _show_scores(made: "EnsembleResult") -> None:
    from cov3d.api.evaluation import warn_of_small_classes
    from cov3d.reports.tables import centre_table, evaluation_table

    for name, evaluation in made.evaluated.items():
        title = "; ".join(filter(None, [f"{name}, {len(evaluation.predictions)} scans", made.selected_here]))
        out().print(evaluation_table(evaluation, title))
    warn_of_small_classes(made.evaluated, Printer())
    if made.no_centres:
        say_warning(made.no_centres)
    if made.centres:
        out().print(centre_table(made.centres))


def _show_folds(made: "EnsembleResult") -> None:
    """Say how the scores differ from fold to fold, where the runs say which scan is of which."""
    for task, scores in made.fold_scores.items():
        if len(scores) > 1:
            from statistics import mean, stdev

            each = ", ".join(f"{fold}: {score:.3f}" for fold, score in scores.items())
            values = list(scores.values())
            say(f"{task} macro F1 by fold: {each}; mean {mean(values):.3f} ± {stdev(values):.3f}")
    if paper := made.paper:
        cv = "" if paper.score.cv is None else f", over the five folds {paper.score.cv} ± {paper.score.cv_sd}"
        say(f"the paper's {paper.name}, in percent: fold 0 {paper.score.validation}{cv}")
    if made.folds:
        say("The epoch of each member was chosen on the fold that it is scored on, so these scores are optimistic.")


def _show_selection(made: "EnsembleResult", selected: "EnsembleSelection") -> None:
    """Say what was chosen, and what that gained over the mean of all members by the usual threshold."""
    from cov3d.reports.tables import comparison_table

    for member, score in zip(selected.members, selected.scores, strict=False):
        say(f"  macro F1 {score:.3f} with {member}")
    say(
        f"chosen: {', '.join(selected.members)}; a scan is predicted positive if p_non_covid is below "
        f"{selected.threshold:.4g}"
    )
    words = {
        "as_chosen": "on the scans that it was chosen on: this gain was itself selected, and is optimistic",
        "cross_fitted": (
            "chosen on four fifths of the scans and scored on the last fifth, five times: the gain to trust"
        ),
    }
    for name, gain in made.gains.items():
        differing = f"their predictions differ on {gain.differing} of {len(selected.plain)} scans"
        out().print(comparison_table(gain, f"{made.task}: A, {words[name]}; B, the mean of all; {differing}"))
