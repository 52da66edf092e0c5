"""What `cov3d ensemble` does: prediction tables in, their mean and its scores out; and which of them to average."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.arguments import choice
from cov3d.api.evaluation import Centres, score_sources, sources_of, tasks_of
from cov3d.challenge.experiments import Ensemble, find_ensemble
from cov3d.challenge.members import gather_experiments
from cov3d.challenge.runs import Missing, MissingRunsError, Runs
from cov3d.challenge.sets import SubmissionSet, save_sets
from cov3d.command_words import command
from cov3d.datasets import scan_table
from cov3d.datasets.folds import FOLDS
from cov3d.errors import Cov3dError, DatasetError, PredictionsError
from cov3d.evaluation.metrics import THRESHOLD
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import in_place, write_text
from cov3d.inference.ensemble import average_tables, check_together
from cov3d.inference.member_tables import MemberTable, gather
from cov3d.inference.origin import write_origin
from cov3d.inference.task import Task
from cov3d.inference.validate import RESULT_FILES, fold_scores, save_confusion
from cov3d.results import claimed, staged
from cov3d.run_files import PREDICTIONS

if TYPE_CHECKING:
    import pandas as pd

    from cov3d.evaluation.comparison import Comparison
    from cov3d.evaluation.scores import TaskEvaluation
    from cov3d.inference.selection import EnsembleSelection

SET_FILE, SELECTION_FILE = "set.json", "selection.json"


@dataclass
class EnsembleResult:
    """A mean of predictions.

    Attributes:
        table: its prediction table, sorted by scan.
        members: what was averaged.
        task: that is scored.
        paper: the paper's ensemble, if it was given by name.
        folds: the fold of each scan, where the members' runs say.
        evaluated: every score with its interval, by task; empty without labels.
        selected_here: a warning, if members or threshold were selected on these scans; else None.
        centres: the scores by source and task; empty without sources.
        no_centres: why there are none though the dataset has a scan table, such as one that can't be read.
        fold_scores: macro F1 by task and fold.
        selection: what was selected, if asked for.
        gains: what the selection gained over the mean of all: `as_chosen` and `cross_fitted`.
        submission_set: what `cov3d submit --set` takes; None where there is none.
        no_set: why there is none.
    """

    table: "pd.DataFrame"
    members: Sequence[MemberTable]
    task: Task
    paper: Ensemble | None
    folds: dict[str, int]
    evaluated: "dict[str, TaskEvaluation]" = field(default_factory=dict)
    selected_here: str | None = None
    centres: Centres = field(default_factory=dict)
    no_centres: str = ""
    fold_scores: dict[str, dict[int, float]] = field(default_factory=dict)
    selection: "EnsembleSelection | None" = None
    gains: "dict[str, Comparison]" = field(default_factory=dict)
    submission_set: Path | None = None
    no_set: str = ""

    @property
    def submit_command(self) -> str:
        """The command that makes a submission of it."""
        return command("submit", set=self.submission_set)


@dataclass(frozen=True)
class _Chosen:
    """The members, the task that they are of and, of an ensemble by name, its folds."""

    members: list[MemberTable]
    task: Task
    folds: tuple[int, ...] = ()
    paper: Ensemble | None = None


def _known_table(data: Path) -> "tuple[pd.DataFrame | None, str]":
    """The scan table of a dataset, if there is one; and why it can't be read, if so."""
    file = data / scan_table.FILE_NAME
    try:
        return (scan_table.load(file) if file.is_file() else None), ""
    except DatasetError as error:
        return None, f"no scores by centre: {error}"


def ensemble(
    predictions: Iterable[str | Path] = (),
    *,
    name: str | None = None,
    data: str | Path = ".",
    runs: str | Path | None = None,
    folds: Sequence[int] = (),
    all_folds: bool = False,
    task: str = Task.BOTH,
    temperature: bool | None = None,
    sources: str | Path | Mapping[str, str] | None = None,
    select_members: bool = False,
    select_threshold: bool = False,
    out_of_fold: bool = False,
    seed: int = 0,
    output_dir: str | Path = "ensemble",
    overwrite: bool = False,
) -> EnsembleResult:
    """Average predictions, score the mean where labels are known, and write both.

    Args:
        predictions: prediction tables, folders with a `predictions.csv`, folders of runs or cross-validations, or
            checkpoints.
        name: one of the paper's ensembles instead, `EP1` to `EP4` or `ES1` to `ES4`.
        data: root folder of the dataset, with `name`.
        runs: with `name`, the folder of the runs; by default `runs` in `data`.
        folds: with `name`; by default fold 0.
        all_folds: with `name`, all five.
        task: whose table of a run is meant, and to select by: `presence`, `severity` or `both`.
        temperature: apply the temperatures that `crossval` fitted; by default unless `name` is given.
        sources: where scans come from, by scan, or a CSV file with the columns `scan,source`.
        select_members: choose among the members by the macro F1 of the task.
        select_threshold: choose the threshold of presence.
        out_of_fold: select on tables of unknown origin too.
        seed: of the intervals' resamples and of the selection.
        output_dir: folder of the results.
        overwrite: replace an earlier result there.

    Raises:
        Cov3dError: arguments that do not go together. MissingRunsError: runs of `name` are missing. PredictionsError:
            tables can't be read, do not go together, or can't be selected on. OutputError: the folder holds results
            already or can't be written.
    """
    from cov3d.inference import selection as selections

    folder = Path(output_dir)
    fitted = (name is None) if temperature is None else temperature
    names = (*RESULT_FILES, SET_FILE, SELECTION_FILE)
    selects = select_members or select_threshold
    with claimed(folder, names, overwrite=overwrite, what="predictions", command="cov3d ensemble"):
        asked = choice(Task, task, "task")
        paths, known = [Path(path) for path in predictions], Runs(Path(runs or Path(data) / "runs"), Path(data))
        chosen = _choose(paths, name, known, folds, asked, all_folds=all_folds, fitted=fitted)
        members = chosen.members
        if selects:
            _check_selection(members, chosen.task, select_threshold, out_of_fold)
        check_together(members)
        selected = None
        if selects:
            selected = selections.select(
                members, chosen.task, choose_members=select_members, choose_threshold=select_threshold, seed=seed
            )
            members = [member for member in members if member.name in selected.members]
        threshold = selected.threshold if selected else THRESHOLD
        table = average_tables(members, threshold)
        of_dataset, no_centres = _known_table(Path(data))
        origin = sources_of(sources, table, of_dataset)
        by_scan = {scan: fold for member in members for scan, fold in member.folds.items()}
        made = EnsembleResult(table, members, chosen.task, None if selects else chosen.paper, by_scan)
        made.selection, made.no_centres = selected, "" if origin else no_centres
        with staged(folder, names) as to:
            save_predictions(table, to / PREDICTIONS)
            if "label" in table and (table["label"] != "").any():
                _score(made, to, origin, seed)
            seen = [member.seen for member in members]
            count = None if None in seen else max(value for value in seen if value is not None)
            write_origin(to, networks=[member.name for member in members], seen_in_training=count)
            if selected:
                _write_selection(made, selected, to, seed)
            _write_set(made, chosen.folds, threshold, to, fitted=fitted)
    return made


def _choose(
    predictions: Sequence[Path],
    name: str | None,
    runs: Runs,
    folds: Sequence[int],
    task: Task,
    *,
    all_folds: bool,
    fitted: bool,
) -> _Chosen:
    """The members that are meant."""
    if bool(predictions) == (name is not None):
        raise Cov3dError("give either prediction tables, folders, runs or checkpoints to average, or --name")
    if name is None:
        if folds or all_folds:
            raise Cov3dError("--fold and --all-folds need --name: without it, give the runs of the folds themselves")
        return _Chosen(gather(predictions, task, fitted_temperature=fitted), task)
    if folds and all_folds:
        raise Cov3dError("--fold and --all-folds cannot be combined: give one of them")
    wanted = find_ensemble(name)
    if task not in (Task.BOTH, wanted.task):
        raise Cov3dError(f"{wanted.name} is an ensemble for {wanted.task}, not {task}: leave --task out")
    numbers = tuple(range(FOLDS)) if all_folds else tuple(sorted(set(folds or [0])))
    found = gather_experiments(wanted.experiments, numbers, Task(wanted.task), runs, fitted_temperature=fitted)
    members = [member for member in found if isinstance(member, MemberTable)]
    if missing := [one for one in found if isinstance(one, Missing)]:
        raise MissingRunsError(
            f"{wanted.name} needs {len(missing)} run{'s' * (len(missing) > 1)} more: make them with the commands above",
            missing,
        )
    return _Chosen(members, Task(wanted.task), numbers, wanted)


def _check_selection(members: Sequence[MemberTable], task: Task, select_threshold: bool, out_of_fold: bool) -> None:
    """Refuse to select on what networks were trained on, or may have been."""
    if task == Task.BOTH:
        raise PredictionsError("selection needs a task: give --task presence or --task severity")
    if task == Task.SEVERITY and select_threshold:
        raise PredictionsError(
            "--select-threshold is for presence only: severity has no threshold, the most probable category is "
            "predicted"
        )
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


def _score(made: EnsembleResult, folder: Path, origin: Mapping[str, str], seed: int) -> None:
    """Score the labelled scans for the tasks meant, as `validate` does."""
    from cov3d.evaluation import scores
    from cov3d.reports import score_figures

    categories, tasks = made.members[0].categories, tasks_of(made.task)
    evaluated = scores.evaluate(made.table, categories, seed=seed)
    made.evaluated = {each.value: evaluated[each] for each in tasks}
    made.selected_here = (
        "members or threshold were selected on these scans: scores are optimistic" if made.selection else None
    )
    scores.save_scores(made.evaluated, folder, {"selection": made.selected_here, "seed": seed})
    save_confusion({task: evaluation.result for task, evaluation in made.evaluated.items()}, folder)
    score_figures.save_pictures(made.evaluated, folder)
    made.centres = score_sources(dict.fromkeys(tasks, made.table), categories, origin, folder, seed)
    made.fold_scores = {each.value: fold_scores(made.table, categories, made.folds, each) for each in tasks}


def _write_selection(made: EnsembleResult, selected: "EnsembleSelection", folder: Path, seed: int) -> None:
    """Write what was chosen, and what that gained over the mean of all members by the usual threshold."""
    from cov3d.evaluation.comparison import compare

    tables = {"as_chosen": selected.chosen, "cross_fitted": selected.cross_fitted}
    categories = made.members[0].categories
    made.gains = {
        name: compare(table, selected.plain, categories, made.task, seed=seed) for name, table in tables.items()
    }
    written = {
        "members": selected.members,
        "scores": selected.scores,
        "threshold": selected.threshold,
        "seed": seed,
        "b": "the mean of all members",
        **{name: gain.as_dict() for name, gain in made.gains.items()},
    }
    write_text(folder / SELECTION_FILE, json.dumps(written, indent=2) + "\n")


def _write_set(made: EnsembleResult, folds: tuple[int, ...], threshold: float, folder: Path, *, fitted: bool) -> None:
    """Write what `cov3d submit --set` takes to make this ensemble of its networks, where they are known."""
    if made.task == Task.BOTH:
        made.no_set = "a set has one task: give --task presence or --task severity"
        return
    if without := [member for member in made.members if not member.source]:
        made.no_set = without[0].no_source
        return
    beside = in_place(folder).resolve()
    sources = [
        source if folds else os.path.relpath(Path(source).resolve(), beside)
        for member in made.members
        for source in member.source
    ]
    save_sets([SubmissionSet(made.task, 1, tuple(sources), folds, threshold, fitted)], folder / SET_FILE)
    made.submission_set = in_place(folder) / SET_FILE
