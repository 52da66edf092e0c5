"""The paper's tables of results (5 to 7) with ours beside them.

Scores are macro F1 in percent. Missing results are a dash, and a note below the table states what is missing and how
to make it. The score of the best epoch was selected on its own fold; the score of the last epoch is beside it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cov3d.challenge.experiments import ENSEMBLES, Ensemble, Experiment, PaperScore, experiments, options_of
from cov3d.challenge.members import gather_experiments
from cov3d.challenge.paper_tables import DASH, PaperTable
from cov3d.challenge.runs import Missing, Runs
from cov3d.datasets.folds import FOLDS
from cov3d.errors import Cov3dError, DatasetError
from cov3d.evaluation.predictions import load_predictions
from cov3d.inference.ensemble import average_tables
from cov3d.inference.member_tables import MemberTable
from cov3d.inference.task import Task
from cov3d.inference.validate import fold_scores
from cov3d.labels import TASKS
from cov3d.run_files import SUMMARY, run_options

_SELECTED = (
    "Ours is of the epoch with the best score on the fold that it is scored on, so it is optimistic, as "
    "is the paper's; "
    "the last epoch was not selected."
)


def experiment_table(runs: Runs, on_row: Callable[[int], None] = lambda _: None) -> PaperTable:
    """Table 5: the paper's experiments, its results, and those of our runs of them.

    Args:
        runs: our runs.
        on_row: called with the number of finished experiments.
    """
    frame: list[dict[str, Any]] = []
    shown: list[tuple[str, ...]] = []
    missing: list[str] = []
    without: list[int] = []
    for done, row in enumerate(experiments().values(), start=1):
        ours = _find_experiment(row.number, runs)
        if runs.folds_of(row.number):
            missing += ours.missing
        else:
            without.append(row.number)
        frame.append(_experiment_values(row, ours))
        shown.append(_experiment_cells(row, ours))
        on_row(done)
    if without:
        missing.append(
            f"no run of experiment{'s' * (len(without) > 1)} {_ranges(without)}: cov3d train --experiment N --fold 0 "
            "makes one, cov3d crossval --experiment N those of all folds"
        )
    scores = ("paper", "ours", "last epoch", "CV paper", "CV ours")
    head = (
        *("#", "net", "size", "STOIC", "dropout", "λ", "σ_b", "σ_c", "epochs"),
        *(f"{task} {name}" for task in TASKS for name in scores),
        "ours differs in",
    )
    notes = (
        "Macro F1 in percent: on fold 0, the validation partition; CV: mean ± standard deviation over the five folds.",
        _SELECTED,
    )
    title = "Table 5: the experiments, the paper's results and ours"
    return PaperTable("table-5", title, pd.DataFrame(frame), head, tuple(shown), notes, tuple(missing))


@dataclass(frozen=True)
class _Ours:
    """The scores of our runs of an experiment, in percent, by task; None if unknown."""

    folds: tuple[int, ...]
    best: dict[str, float | None]
    last: dict[str, float | None]
    cv: dict[str, tuple[float, float] | None]
    differs: str
    missing: list[str]


def _find_experiment(number: int, runs: Runs) -> _Ours:
    found = {fold: runs.find(number, fold, SUMMARY) for fold in range(FOLDS)}
    folders = {fold: run.parent for fold, run in found.items() if isinstance(run, Path)}
    there = runs.folds_of(number)
    missing = [str(run) for fold, run in found.items() if isinstance(run, Missing) and fold in there]
    if absent := sorted(set(found) - there):
        missing.append(
            f"experiment {number}: no run on fold{'s' * (len(absent) > 1)} {_ranges(absent)}: "
            f"cov3d crossval --experiment {number}"
        )
    best, last, cv = _nothing(), _nothing(), _nothing()
    differs = ""
    try:
        if 0 in folders:
            best, last = (_summary_scores(folders[0], which) for which in ("best", "last"))
        if len(folders) == FOLDS:
            _check_disjoint(folders.values())
            scores = pd.DataFrame([_summary_scores(run, "best") for run in folders.values()], dtype=float)
            cv = {task: _mean_and_deviation(scores[task]) for task in TASKS}
        differs = " or ".join(sorted({words for run in folders.values() if (words := differing_options(run, number))}))
    except Cov3dError as error:
        missing.append(f"experiment {number}: {error}")
    return _Ours(tuple(folders), best, last, cv, differs, missing)


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(TASKS)


def _summary_scores(run: Path, which: str) -> dict[str, float | None]:
    """The macro F1s in a run's summary, in percent; None if there is none.

    Raises:
        DatasetError: the summary can't be read.
    """
    try:
        tasks = json.loads((run / SUMMARY).read_text(encoding="utf-8"))["tasks"]
        scores = {task: (tasks[task][which] or {}).get("macro_f1") for task in TASKS}
        return {task: None if score is None else 100 * float(score) for task, score in scores.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{run / SUMMARY} can't be read as a run's summary ({error})") from error


def _check_disjoint(runs: Iterable[Path]) -> None:
    """Check that runs on several folds were made with the same scan table.

    Raises:
        DatasetError: a scan is in two of them.
        PredictionsError: a table of a run can't be read.
    """
    place: dict[str, Path] = {}
    for run in runs:
        file = run / "validation-presence.csv"
        scans: list[str] = list(load_predictions(file)[0]["scan"]) if file.exists() else []
        for scan in scans:
            if (other := place.setdefault(scan, run)) != run:
                raise DatasetError(f"{scan} is in two folds, {other} and {run}: they are of different scan tables")


def _mean_and_deviation(scores: pd.Series) -> tuple[float, float] | None:
    """Mean and standard deviation (n − 1) over the folds that have a score; None if fewer than two have."""
    scores = scores.dropna()
    return (float(scores.mean()), float(scores.std())) if len(scores) > 1 else None


def differing_options(run: Path, number: int) -> str:
    """The options of a run that differ from those of its experiment, as `name value, …`."""
    used = run_options(run)
    meant = json.loads(json.dumps(asdict(options_of(number)), default=list))
    names = [name for name in meant if name not in ("fold", "experiment") and name in used]
    # Distances of one are cut to the number of categories.
    other = [name for name in names if used[name] != meant[name] and not _all_ones(name, used[name], meant[name])]
    return ", ".join(f"{name} {_brief(used[name])}" for name in other)


def _all_ones(name: str, *values: Any) -> bool:
    return name == "distances" and all(step == 1 for value in values for step in value)


def _brief(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _experiment_values(row: Experiment, ours: _Ours) -> dict[str, Any]:
    values = asdict(row)
    papers: dict[str, PaperScore] = {task: getattr(row, task) for task in TASKS}
    frame = {name: value for name, value in values.items() if name not in TASKS}
    frame = {"experiment": frame.pop("number"), **frame}
    for task, paper in papers.items():
        frame |= _score_values(task, paper, ours.best[task], ours.cv[task])
        frame[f"{task}_ours_last_epoch"] = _rounded(ours.last[task])
    return {**frame, "folds": " ".join(map(str, ours.folds)), "differs": ours.differs}


def _experiment_cells(row: Experiment, ours: _Ours) -> tuple[str, ...]:
    settings = (
        *(str(row.number), row.architecture.value, row.size.value, "yes" if row.stoic else "no"),
        DASH if row.dropout is None else str(row.dropout),
        *map(str, (row.emd_weight, row.brightness, row.contrast, row.epochs)),
    )
    scores: list[str] = []
    for task in TASKS:
        paper: PaperScore = getattr(row, task)
        fold_0 = (paper.validation, ours.best[task], ours.last[task])
        scores += [*map(_one, fold_0), _pair(_of_paper(paper)), _pair(ours.cv[task])]
    return (*settings, *scores, ours.differs or DASH)


def ensemble_table(task: str, runs: Runs) -> PaperTable:
    """Table 6 (presence) or 7 (severity): the paper's ensembles, its results, and those of the same mean of our runs.

    Raises:
        ValueError: there is no such task.
    """
    number = {"presence": 6, "severity": 7}[task]
    frame: list[dict[str, Any]] = []
    shown: list[tuple[str, ...]] = []
    missing: list[str] = []
    for ensemble in ENSEMBLES:
        if ensemble.task != task:
            continue
        validation, cv, problems = _ensemble_scores(ensemble, runs)
        missing += [text for text in problems if text not in missing]
        members = " ".join(map(str, ensemble.experiments))
        values = _score_values(task, ensemble.score, validation, cv)
        frame.append({"ensemble": ensemble.name, "experiments": members, **values})
        scores = (_one(ensemble.score.validation), _one(validation), _pair(_of_paper(ensemble.score)), _pair(cv))
        shown.append((ensemble.name, members.replace(" ", ", "), *scores))
    title = f"Table {number}: ensembles for {task}, the paper's results and ours"
    head = ("name", "experiments", "paper", "ours", "CV paper", "CV ours")
    notes = (
        "Macro F1 in percent: on fold 0; CV: mean ± standard deviation over the five folds.",
        "The epoch of each member was chosen on the fold that is scored, so both are optimistic.",
        "Ours are without the temperatures that cov3d crossval fits, as the paper's are.",
    )
    return PaperTable(f"table-{number}", title, pd.DataFrame(frame), head, tuple(shown), notes, tuple(missing))


def _ensemble_scores(ensemble: Ensemble, runs: Runs) -> tuple[float | None, tuple[float, float] | None, list[str]]:
    """Our macro F1 of an ensemble on fold 0, its mean and deviation over all folds, and what is missing for these."""
    first, problems = _scores_by_fold(ensemble, [0], runs)
    every, more = _scores_by_fold(ensemble, range(FOLDS), runs)
    cv = _mean_and_deviation(100 * pd.Series(every, dtype=float))
    # Runs missing on fold 0 are also missing in all folds: list them once.
    return (100 * first[0] if 0 in first else None), cv, problems or more


def _scores_by_fold(ensemble: Ensemble, folds: Sequence[int], runs: Runs) -> tuple[dict[int, float], list[str]]:
    """Our macro F1 of an ensemble on each of some folds that has scans to score; or none, and what is missing."""
    absent = {number: sorted(set(folds) - runs.folds_of(number)) for number in ensemble.experiments}
    if lacking := [f"{number} on {_folds_in_words(gaps)}" for number, gaps in absent.items() if gaps]:
        return {}, [f"{ensemble.name}, {_folds_in_words(folds)}: no run of experiment {', '.join(lacking)}"]
    task = Task(ensemble.task)
    try:
        found = gather_experiments(ensemble.experiments, folds, task, runs, fitted_temperature=False)
        members = [member for member in found if isinstance(member, MemberTable)]
        if len(members) < len(found):
            return {}, [f"{ensemble.name}: {missing}" for missing in found]
        table, categories = average_tables(members), members[0].categories
        return fold_scores(table, categories, members[0].folds, task), []
    except Cov3dError as error:
        return {}, [f"{ensemble.name}: {error}"]


def _folds_in_words(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {_ranges(list(folds))}"


def _score_values(
    task: str, paper: PaperScore, validation: float | None, cv: tuple[float, float] | None
) -> dict[str, Any]:
    mean, deviation = cv or (None, None)
    return {
        f"{task}_paper": paper.validation,
        f"{task}_ours": _rounded(validation),
        f"{task}_cv_paper": paper.cv,
        f"{task}_cv_sd_paper": paper.cv_sd,
        f"{task}_cv_ours": _rounded(mean),
        f"{task}_cv_sd_ours": _rounded(deviation),
    }


def _of_paper(score: PaperScore) -> tuple[float, float] | None:
    return None if score.cv is None or score.cv_sd is None else (score.cv, score.cv_sd)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _one(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _pair(pair: tuple[float, float] | None) -> str:
    return DASH if pair is None else f"{pair[0]:.1f} ± {pair[1]:.1f}"


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in order as `1, 3–5`."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
