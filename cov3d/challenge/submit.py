"""Write the submission files of each set, in a numbered folder, from the predictions of the networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cov3d.challenge.check import check_submission
from cov3d.challenge.line_format import LineFormat
from cov3d.challenge.member_cache import NetworkPredictions
from cov3d.challenge.sets import SubmissionSet
from cov3d.challenge.submission import check_categories, write_submission
from cov3d.errors import CheckpointError, SubmissionError
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import in_place, write_text
from cov3d.inference.ensemble import average_tables
from cov3d.inference.fold_table import at_temperature
from cov3d.inference.member_tables import MemberTable
from cov3d.inference.task import Task
from cov3d.training.checkpoint import read_info

OVERVIEW, TABLES, MEMBERS = "submissions.csv", "predictions", "members"


@dataclass(frozen=True)
class Written:
    """A set of submission files.

    Attributes:
        of: the set.
        networks: number of averaged networks.
        counts: number of names in each file.
    """

    of: SubmissionSet
    networks: int
    counts: dict[str, int]


def manifest_name(task: Task) -> str:
    """The name of the manifest of a task's test scans."""
    return f"manifest-{task}.csv"


def check_networks(checkpoints: Sequence[Path], task: Task) -> None:
    """Check, before predicting, that the networks of a task can be averaged and its files written.

    Raises:
        CheckpointError: a file is not a checkpoint, or its categories differ from the others' or the challenge's.
    """
    first = read_info(checkpoints[0]).categories
    check_categories(first, task)
    for file in checkpoints:
        if (categories := read_info(file).categories) != first:
            raise CheckpointError(
                f"{file} has the categories {', '.join(categories)}, but {checkpoints[0]} has {', '.join(first)}: "
                "they can't be averaged"
            )


def write_all(
    sets: Sequence[SubmissionSet],
    checkpoints: Mapping[SubmissionSet, Sequence[Path]],
    predicted: Mapping[Task, NetworkPredictions],
    manifests: Mapping[Task, str],
    folder: Path,
    line_format: LineFormat,
) -> list[Written]:
    """Write the files of every set, the manifest of each task (by the names `manifests`) and the overview.

    Raises:
        PredictionsError: the members of a set can't be averaged.
        SubmissionError: the written files have a problem.
        OutputError: a file can't be written.
    """
    written = []
    for task, found in predicted.items():
        write_text(folder / manifests[task], found.manifest.to_csv(index=False, lineterminator="\n"))
        for one in (one for one in sets if one.task == task):
            networks = {file: found.tables[file] for file in checkpoints[one]}
            written.append(write_set(one, networks, folder, line_format))
    names = {one: [f"{file.parent.name}/{file.name}" for file in files] for one, files in checkpoints.items()}
    write_overview(written, names, folder)
    return written


def write_set(
    of: SubmissionSet, networks: Mapping[Path, MemberTable], folder: Path, line_format: LineFormat
) -> Written:
    """Average the networks of a set, and write its submission files and its prediction table.

    Args:
        of: the set.
        networks: predictions at temperature 1, by checkpoint.
        folder: folder of all submissions.
        line_format: format of the files.

    Raises:
        PredictionsError: the members can't be averaged.
        SubmissionError: the written files have a problem.
        OutputError: a file can't be written.
    """
    members = list(networks.values())
    if of.fitted_temperature:
        members = [_at_fitted_temperature(member, checkpoint) for checkpoint, member in networks.items()]
    table = average_tables(members, of.threshold)
    save_predictions(table, folder / TABLES / f"{of.task}-{of.number}.csv")
    counts = write_submission(table, members[0].categories, folder / of.place, of.task, line_format)
    found = check_submission(folder / of.place, table["scan"], task=of.task, line_format=line_format, allow_empty=True)
    if found.problems:
        raise SubmissionError(f"{in_place(folder / of.place)} should not be submitted: {found.problems[0]}")
    return Written(of, len(members), counts)


def _at_fitted_temperature(member: MemberTable, checkpoint: Path) -> MemberTable:
    temperature = read_info(checkpoint).temperature
    return replace(member, table=at_temperature(member.table, member.categories, temperature))


def write_overview(written: Sequence[Written], names: Mapping[SubmissionSet, Sequence[str]], folder: Path) -> None:
    """Write the overview: a row for each set, with its networks and the number of names in each file.

    Raises:
        OutputError: the file can't be written.
    """
    rows = [
        {
            "task": made.of.task,
            "number": made.of.number,
            "members": " ".join(made.of.members),
            "folds": " ".join(map(str, made.of.folds)),
            "threshold": made.of.threshold,
            "fitted_temperature": "yes" if made.of.fitted_temperature else "no",
            "networks": " ".join(names[made.of]),
            **{Path(name).stem: count for name, count in made.counts.items()},
        }
        for made in written
    ]
    table = pd.DataFrame(rows)
    counted = table.columns[7:]
    table[counted] = table[counted].astype("Int64")
    write_text(folder / OVERVIEW, table.to_csv(index=False, lineterminator="\n"))
