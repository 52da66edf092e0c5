"""The paper's experiments as members of an ensemble."""

from collections.abc import Sequence
from pathlib import Path

from cov3d.challenge.runs import Missing, Runs
from cov3d.inference.member_tables import MemberTable, member_of_runs
from cov3d.inference.task import Task
from cov3d.run_files import validation_table


def gather_experiments(
    numbers: Sequence[int], folds: Sequence[int], task: Task, runs: Runs, *, fitted_temperature: bool
) -> list[MemberTable] | list[Missing]:
    """The members, one for each experiment, with tables of all `folds`; or the list of missing runs.

    Args:
        numbers: numbers of the experiments.
        folds: folds whose tables are concatenated.
        task: presence or severity.
        runs: runs to search.
        fitted_temperature: as in `member_tables.gather`.

    Raises:
        PredictionsError: a table can't be read.
    """
    file = validation_table(task)
    found = {number: [runs.find(number, fold, file) for fold in folds] for number in numbers}
    if missing := [part for parts in found.values() for part in parts if isinstance(part, Missing)]:
        return missing
    return [
        member_of_runs(
            [part for part in parts if isinstance(part, Path)],
            f"experiment-{number}",
            str(number),
            fitted_temperature=fitted_temperature,
        )
        for number, parts in found.items()
    ]
