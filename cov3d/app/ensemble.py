"""The command `ensemble`: prediction tables in, their mean and its scores out; and which of them to average."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, out, say, say_error, say_warning
from cov3d.app.scores import read_sources, score_centres, warn_of_small_classes
from cov3d.inference.task import Task

SELECTION = "Selection"
SET_FILE, SELECTION_FILE = "set.json", "selection.json"


def ensemble(
    self: Any,
    predictions: list[Path] = typer.Argument(
        None,
        help="What to average: prediction tables, or folders that hold a predictions.csv; folders of crossval; or "
        "runs or their checkpoints, which stand for their validation tables. Runs that differ in the fold only are one "
        "member.",
    ),
    name: str = Param(
        None,
        help="One of the paper's ensembles instead, EP1 to EP4 or ES1 to ES4, from the runs of its experiments.",
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
        help="With --name: the fold; give several to put theirs together.",
        show_default="0",
        rich_help_panel=options.INPUT,
    ),
    all_folds: bool = Param(False, help="With --name: all five folds.", rich_help_panel=options.INPUT),
    task: Task = Param(
        Task.BOTH,
        help="The task whose table of a run or a cross-validation is meant, and to select by; --name says it itself.",
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
        False, help="Choose the threshold that a scan is called positive by.", rich_help_panel=SELECTION
    ),
    out_of_fold: bool = Param(
        False,
        help="Select on tables of which nothing says what their networks were trained on: that it was not these scans "
        "is your word.",
        rich_help_panel=SELECTION,
    ),
    seed: int = Param(
        0,
        min=0,
        help="Of the intervals' resamples, and of the fifths that a selection is tried on.",
        rich_help_panel=options.OUTPUT,
    ),
    output_dir: Path = Param(Path("ensemble"), help="Folder of the results.", rich_help_panel=options.OUTPUT),
    overwrite: bool = options.overwrite(),
) -> Any:
    """Average predictions: probabilities for the presence, conditional ones of each severity for the severity.

    Members may be of any network and size, but must predict the same scans. Where labels are known, the mean is scored.
    """
    from cov3d.datasets.scan_table import FILE_NAME
    from cov3d.files import claim_folder
    from cov3d.inference import ensemble as ensembles
    from cov3d.inference import selection as selections
    from cov3d.inference import validate as validation
    from cov3d.inference.origin import write_origin
    from cov3d.training.predictions import save_predictions

    fitted = (name is None) if temperature is None else temperature
    members, task, folds = _members(
        predictions or [], name, data, runs or data / "runs", fold, all_folds, Task(task), fitted
    )
    selects = select_members or select_threshold
    if selects:
        _check_selection(members, task, select_threshold, out_of_fold)
    ensembles.check_together(members)
    selected = None
    if selects:
        selected = selections.select(
            members, task, choose_members=select_members, choose_threshold=select_threshold, seed=seed
        )
        members = [member for member in members if member.name in selected.members]
    threshold = selected.threshold if selected else ensembles.THRESHOLD
    table = ensembles.average_tables(members, threshold)
    origin = read_sources(sources, table, data / FILE_NAME)
    claim_folder(
        output_dir, (*validation.RESULT_FILES, SET_FILE, SELECTION_FILE), overwrite=overwrite, what="predictions"
    )
    _say_members(members, table)
    save_predictions(table, output_dir / "predictions.csv")
    if "label" in table and (table["label"] != "").any():
        _write_scores(table, members[0].categories, output_dir, task, seed, selected=selects)
        score_centres(dict.fromkeys(_tasks(task), table), members[0].categories, origin, output_dir, seed)
        _say_folds(table, members, task, None if selects else name)
    seen = [member.seen for member in members]
    count = None if None in seen else max(value for value in seen if value is not None)
    write_origin(output_dir, networks=[member.name for member in members], seen_in_training=count)
    if selected:
        _write_selection(selected, members[0].categories, task, seed, output_dir)
    _write_set(members, folds, task, threshold, fitted, output_dir)
    say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    return table


def _members(
    predictions: list[Path],
    name: str | None,
    data: Path,
    runs: Path,
    fold: list[int] | None,
    all_folds: bool,
    task: Task,
    fitted_temperature: bool,
) -> tuple[list[Any], Task, tuple[int, ...]]:
    """The members, the task that they are of and, of an ensemble by name, its folds."""
    from cov3d.errors import Cov3dError
    from cov3d.experiments import find_ensemble
    from cov3d.inference.member_tables import MemberTable, gather, gather_experiments
    from cov3d.inference.runs import Runs

    if bool(predictions) == (name is not None):
        raise Cov3dError("give prediction tables, folders, runs or checkpoints to average, or --name, and not both")
    if name is None:
        if fold or all_folds:
            raise Cov3dError("--fold and --all-folds go with --name: of runs, give those of the folds that are meant")
        return gather(predictions, task, fitted_temperature=fitted_temperature), task, ()
    if fold and all_folds:
        raise Cov3dError("--fold and --all-folds contradict each other: give one of them")
    wanted = find_ensemble(name)
    if task not in (Task.BOTH, wanted.task):
        raise Cov3dError(f"{wanted.name} is an ensemble for {wanted.task}, not {task}: leave --task out")
    folds = tuple(range(5)) if all_folds else tuple(sorted(set(fold or [0])))
    found = gather_experiments(
        wanted.experiments, folds, Task(wanted.task), Runs(runs, data), fitted_temperature=fitted_temperature
    )
    members = [member for member in found if isinstance(member, MemberTable)]
    if len(members) < len(found):
        for missing in found:
            say_error(str(missing))
        raise Cov3dError(f"{wanted.name} needs {len(found)} run{'s' * (len(found) > 1)} more: make them as said above")
    return members, Task(wanted.task), folds


def _check_selection(members: Sequence[Any], task: Task, select_threshold: bool, out_of_fold: bool) -> None:
    """Refuse to select on what networks were trained on, or may have been."""
    from cov3d.errors import PredictionsError

    if task == Task.BOTH:
        raise PredictionsError("say which task to select for, with --task presence or --task severity")
    if task == Task.SEVERITY and select_threshold:
        raise PredictionsError("--select-threshold is for presence: a severity is the likeliest one, by no threshold")
    for member in members:
        where = member.files[0]
        if member.seen:
            raise PredictionsError(
                f"{where}: its network was trained on {member.seen} of its {len(member.table)} scans, and what is "
                "selected on those is worth nothing: give predictions of a fold that it was not trained on"
            )
        if member.seen is None and not out_of_fold:
            raise PredictionsError(
                f"{where}: nothing beside it says what its network was trained on: give a run or its checkpoint, or "
                "--out-of-fold if you know that it was not these scans"
            )


def _say_members(members: Sequence[Any], table: Any) -> None:
    say(f"the mean of {len(members)} member{'s' * (len(members) > 1)}, of {len(table)} scans:")
    for member in members:
        files = f"{len(member.files)} folds" if len(member.files) > 1 else str(member.files[0])
        say(f"  {member.name}" if files == member.name else f"  {member.name} ({files})")
        for temperature, tables in Counter(member.temperatures.values()).items():
            of = f"{tables} tables" if tables > 1 else "the table"
            say(f"    {of} at temperature {temperature:.3g}, as its checkpoint{'s' * (tables > 1)} would predict")
        if member.seen:
            say_warning(f"{member.name} was trained on {member.seen} of these scans: scores flatter")


def _write_scores(
    table: Any, categories: tuple[str, ...], folder: Path, task: Task, seed: int, *, selected: bool
) -> None:
    """Score the labelled scans for the tasks meant, as `cov3d validate` does."""
    from cov3d.inference.validate import save_confusion
    from cov3d.reports import scores
    from cov3d.reports.score_figures import save_pictures
    from cov3d.reports.tables import evaluation_table

    evaluated = scores.evaluate(table, categories, seed=seed)
    shown = {each.value: evaluated[each] for each in _tasks(task)}
    flatters = "members or threshold were selected on these scans: flatters" if selected else None
    scores.save_scores(shown, folder, {"selection": flatters, "seed": seed})
    save_confusion({name: evaluation.result for name, evaluation in shown.items()}, folder)
    save_pictures(shown, folder)
    for name, evaluation in shown.items():
        title = "; ".join(filter(None, [f"{name}, {len(evaluation.calls)} scans", flatters]))
        out().print(evaluation_table(evaluation, title))
    warn_of_small_classes({name: evaluation.calls.small for name, evaluation in shown.items()})


def _tasks(task: Task) -> list[Task]:
    """The single tasks that are meant."""
    return [each for each in (Task.PRESENCE, Task.SEVERITY) if task in (Task.BOTH, each)]


def _say_folds(table: Any, members: Sequence[Any], task: Task, name: str | None) -> None:
    """Say how the scores differ from fold to fold, where the runs say which scan is of which."""
    from cov3d.experiments import find_ensemble
    from cov3d.inference.validate import fold_scores

    folds = {scan: fold for member in members for scan, fold in member.folds.items()}
    for each in _tasks(task):
        scores = fold_scores(table, members[0].categories, folds, each)
        if len(scores) > 1:
            from statistics import mean, stdev

            said = ", ".join(f"{fold}: {score:.3f}" for fold, score in scores.items())
            values = list(scores.values())
            say(f"{each} macro F1 by fold: {said}; mean {mean(values):.3f} ± {stdev(values):.3f}")
    if name is not None:
        paper = find_ensemble(name)
        cv = "" if paper.score.cv is None else f", over the five folds {paper.score.cv} ± {paper.score.cv_sd}"
        say(f"the paper's {paper.name}, in percent: fold 0 {paper.score.validation}{cv}")
    if folds:
        say("The epoch of each member was chosen on the fold that it is scored on, so these scores flatter.")


def _write_selection(selected: Any, categories: tuple[str, ...], task: Task, seed: int, folder: Path) -> None:
    """Say and write what was chosen, and what that gained over the mean of all members by the usual threshold."""
    from cov3d.files import write_text
    from cov3d.reports.comparison import compare
    from cov3d.reports.tables import comparison_table

    for member, score in zip(selected.members, selected.scores, strict=False):
        say(f"  macro F1 {score:.3f} with {member}")
    say(f"chosen: {', '.join(selected.members)}; called positive where p_non_covid is below {selected.threshold:.4g}")
    chosen = {"members": selected.members, "scores": selected.scores, "threshold": selected.threshold, "seed": seed}
    gains = {
        "as_chosen": (
            "on the scans that it was chosen on: this gain is itself selected, and flatters",
            selected.chosen,
        ),
        "cross_fitted": (
            "chosen on four fifths of the scans and tried on the last, five times: the gain to believe",
            selected.cross_fitted,
        ),
    }
    found = {name: compare(table, selected.plain, categories, task, seed=seed) for name, (_, table) in gains.items()}
    for name, (what, _) in gains.items():
        differing = found[name].differing
        title = (
            f"{task}: A, {what}; B, the mean of all; their calls differ on {differing} of {len(selected.plain)} scans"
        )
        out().print(comparison_table(found[name], title))
    written = {**chosen, "b": "the mean of all members", **{name: one.as_dict() for name, one in found.items()}}
    write_text(folder / SELECTION_FILE, json.dumps(written, indent=2) + "\n")


def _write_set(
    members: Sequence[Any], folds: tuple[int, ...], task: Task, threshold: float, fitted: bool, folder: Path
) -> None:
    """Write what `cov3d submit --set` takes to make this ensemble of its networks, where they are known."""
    from cov3d.inference.sets import SubmissionSet, save_sets

    if task == Task.BOTH or not all(member.source for member in members):
        return
    beside = folder.resolve()
    sources = [
        source if folds else os.path.relpath(Path(source).resolve(), beside)
        for member in members
        for source in member.source
    ]
    save_sets([SubmissionSet(task, 1, tuple(sources), folds, threshold, fitted)], folder / SET_FILE)
    say(f"cov3d submit --set {folder / SET_FILE} makes a submission of it")
