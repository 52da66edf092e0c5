"""Which submissions to make: the paper's (section 6), or a file of one's own; and the checkpoints that each needs."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cov3d.challenge.experiments import ENSEMBLES, SUBMISSIONS, find, find_ensemble
from cov3d.challenge.runs import Missing, Runs
from cov3d.datasets.folds import FOLDS
from cov3d.datasets.rows import read_rows
from cov3d.errors import Cov3dError, SubmissionError
from cov3d.evaluation.metrics import THRESHOLD
from cov3d.files import write_text
from cov3d.inference.task import Task
from cov3d.run_files import is_run
from cov3d.values import brief, parse

PAPER = "paper"
_MEMBERS = "a member is an experiment's number, an ensemble's name, a run's folder or a checkpoint"
COLUMNS = ("task", "number", "members", "folds", "threshold")
TEMPERATURE = "fitted_temperature"
"""A column that may be missing."""


@dataclass(frozen=True)
class SubmissionSet:
    """A set of submission files: whose predictions are averaged.

    Attributes:
        task: presence or severity.
        number: of its folder, from 1.
        members: each an experiment's number, an ensemble's name, a run folder or a checkpoint.
        folds: whose networks are averaged, of experiments and ensembles.
        threshold: probability of non-COVID below which a scan is predicted positive.
        fitted_temperature: whether each network's probabilities are scaled by the temperature in its checkpoint.
    """

    task: Task
    number: int
    members: tuple[str, ...]
    folds: tuple[int, ...] = (0,)
    threshold: float = THRESHOLD
    fitted_temperature: bool = True

    @property
    def place(self) -> str:
        """Its folder within the folder of all submissions."""
        return f"{self.task}/{self.number}"


def paper_sets() -> list[SubmissionSet]:
    """The ten submissions of section 6; the paper fits no temperature."""
    return [
        SubmissionSet(Task(row.task), row.number, (str(row.source),), row.folds, fitted_temperature=False)
        for row in SUBMISSIONS
    ]


def load_sets(file: Path) -> list[SubmissionSet]:
    """Read a file of sets: CSV with the columns `task,number,members,folds,threshold`, or JSON with a list of such.

    A further column, `fitted_temperature`, may be `no` (in JSON false): then temperatures are not applied.

    In a CSV file, members and folds have spaces between them; folds may be `all`, or empty for fold 0, and the
    threshold may be empty. Paths of members are relative to the file.

    Raises:
        SubmissionError: the file can't be read, or has a wrong set; the message names it.
        DatasetError: it is a CSV file without one of the columns.
    """
    rows = _json_rows(file) if file.suffix.lower() == ".json" else _csv_rows(file)
    sets: list[SubmissionSet] = []
    for where, row in rows:
        try:
            made = _parse(row, file.parent)
        except (ValueError, TypeError, KeyError, OverflowError, Cov3dError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise SubmissionError(f"{file} {where}: {reason}") from None
        if any(other.place == made.place for other in sets):
            raise SubmissionError(f"{file} {where}: there is a {made.place} already: give each set a number of its own")
        sets.append(made)
    if not sets:
        raise SubmissionError(f"{file} has no set")
    return sets


def save_sets(sets: Iterable[SubmissionSet], file: Path) -> None:
    """Write sets as JSON, as `load_sets` reads them.

    Raises:
        OutputError: the file can't be written.
    """
    write_text(file, json.dumps([asdict(one) for one in sets], indent=2) + "\n")


def _csv_rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for row in read_rows(file, COLUMNS, optional=[TEMPERATURE]):
        values: dict[str, Any] = dict(row.values)
        values["members"] = values["members"].split()
        folds = values["folds"].lower()
        values["folds"] = (
            list(range(FOLDS))
            if folds == "all"
            else [int(part) if part.isdecimal() else part for part in folds.split()]
        )
        values[TEMPERATURE] = {"yes": True, "no": False}.get(values[TEMPERATURE].lower(), values[TEMPERATURE])
        values["number"] = int(values["number"]) if values["number"].isdecimal() else values["number"]
        found.append((f"line {row.line}", {name: value for name, value in values.items() if value not in ("", [])}))
    return found


def _json_rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SubmissionError(f"there is no file {file}: --set is {PAPER}, or a CSV or JSON file") from None
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{file} can't be read as JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise SubmissionError(f"{file} must hold a list of sets, each with {', '.join(COLUMNS)}")
    return [(f"set {number}", row) for number, row in enumerate(content, start=1)]


def _parse(row: dict[str, Any], beside: Path) -> SubmissionSet:
    """A set from its plain values.

    Raises:
        ValueError, KeyError, Cov3dError: one is missing or wrong.
    """
    if unknown := sorted(row.keys() - {*COLUMNS, TEMPERATURE}):
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join((*COLUMNS, TEMPERATURE))}")
    if row["task"] not in (Task.PRESENCE, Task.SEVERITY):
        raise ValueError(f"task must be presence or severity, not {brief(row['task'])}")
    task, number, given = Task(row["task"]), row["number"], row["members"]
    folds, threshold = row.get("folds") or [0], float(row.get("threshold", THRESHOLD))
    if not _is_whole(number) or not 1 <= number < 10**6:
        raise ValueError(f"number is 1 or more, not {brief(number)}")
    if not isinstance(given, list) or not given or not all(_is_whole(one) or _is_name(one) for one in given):
        raise ValueError("members must be a list of experiments, ensembles, runs or checkpoints")
    members = [str(member) for member in given]
    if not isinstance(folds, list) or not all(_is_whole(fold) and 0 <= fold < FOLDS for fold in folds):
        raise ValueError(f"folds must be numbers from 0 to {FOLDS - 1}, each once, not {brief(folds)}")
    if len(set(folds)) < len(folds):
        raise ValueError(f"folds must be numbers from 0 to {FOLDS - 1}, each once, not {brief(folds)}")
    if not 0 < threshold < 1 or (task == Task.SEVERITY and threshold != THRESHOLD):
        raise ValueError(f"threshold is for presence only and must be between 0 and 1, not {threshold!r} of {task}")
    if not isinstance(fitted := row.get(TEMPERATURE, True), bool):
        raise ValueError(f"{TEMPERATURE} must be yes or no (in JSON true or false), not {fitted!r}")
    members = [member if _is_named(member) else str(beside / member) for member in members]
    _numbers(members, task)
    return SubmissionSet(task, number, tuple(members), tuple(folds), threshold, fitted)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _is_named(member: str) -> bool:
    """Whether a member is an experiment or an ensemble, not a path."""
    return member.isdecimal() or member.upper() in {ensemble.name for ensemble in ENSEMBLES}


def _numbers(members: Iterable[str], task: Task) -> list[int]:
    """The experiments of members, including those of ensembles.

    Raises:
        Cov3dError: there is none of a number, or an ensemble is of the other task.
    """
    numbers: list[int] = []
    for member in filter(_is_named, members):
        if member.isdecimal():
            numbers.append(find(int(member)).number)
            continue
        ensemble = find_ensemble(member)
        if ensemble.task != task:
            raise SubmissionError(f"{ensemble.name} is an ensemble for {ensemble.task}, not {task}")
        numbers += ensemble.experiments
    return numbers


def checkpoints_of(one: SubmissionSet, runs: Runs) -> tuple[list[Path], list[Missing]]:
    """The checkpoints that a set averages, and the runs that are missing.

    Raises:
        SubmissionError: one of them would be averaged twice.
    """
    file = f"{one.task}.safetensors"
    found: list[Path | Missing] = [
        runs.find(number, fold, file) for number in _numbers(one.members, one.task) for fold in one.folds
    ]
    for member in one.members:
        if not _is_named(member):
            path = Path(member)
            checkpoint = path / file if is_run(path) else path
            known = checkpoint.is_file()
            found.append(checkpoint if known else Missing(f"there is no checkpoint at {checkpoint}", _MEMBERS))
    files = [path for path in found if isinstance(path, Path)]
    if twice := [path for path in files if [other.resolve() for other in files].count(path.resolve()) > 1]:
        raise SubmissionError(f"{one.place} would average {twice[0]} with itself: name each member once")
    return files, [path for path in found if isinstance(path, Missing)]
