"""What `cov3d submit` and `cov3d check-submission` do: sets of submission files, and their check."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.arguments import choice, paths_of
from cov3d.api.inputs import skipping_named
from cov3d.challenge import check
from cov3d.challenge import sets as submission_sets
from cov3d.challenge.check import Checked
from cov3d.challenge.line_format import LineFormat
from cov3d.challenge.runs import MissingRunsError, Runs
from cov3d.challenge.sets import SubmissionSet
from cov3d.challenge.submission import check_names
from cov3d.errors import SubmissionError
from cov3d.inference.names import name_scans
from cov3d.inference.task import Task
from cov3d.listener import SILENT, Listener
from cov3d.processors import default_jobs, spread_over
from cov3d.readers import LeftOut, discover
from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
from cov3d.readers.left_out import save_left_out
from cov3d.results import claimed, staged

if TYPE_CHECKING:
    import torch

    from cov3d.challenge.member_cache import NetworkPredictions
    from cov3d.challenge.submit import Written

Paths = str | Path | Iterable[str | Path]


@dataclass(frozen=True)
class Submitted:
    """Submission files that were made.

    Attributes:
        written: the sets, each with the number of names in each of its files.
        failed: what is wrong with the scans that could not be read, by `<task>: <scan>`.
        left_out: files and folders that look like scans and were not taken.
        folder: of the results.
    """

    written: "list[Written]"
    failed: dict[str, str]
    left_out: tuple[LeftOut, ...]
    folder: Path


@dataclass(frozen=True)
class _SubmitOptions:
    device: "torch.device"
    batch_size: int
    skip_errors: bool
    processors: int


def submit(
    which: str | Path = submission_sets.PAPER,
    *,
    data: str | Path = ".",
    runs: str | Path | None = None,
    presence_scans: Paths | None = None,
    severity_scans: Paths | None = None,
    temperature: bool | None = None,
    line_format: str = LineFormat.PLAIN,
    output_dir: str | Path = "submissions",
    overwrite: bool = False,
    skip_errors: bool = False,
    device: str = "auto",
    jobs: int | None = None,
    batch_size: int = 2,
    listener: Listener = SILENT,
) -> Submitted:
    """Make sets of submission files from the runs of experiments.

    Args:
        which: `paper`, or a CSV or JSON file of sets.
        data: root folder of the dataset.
        runs: folder of the experiments' runs; by default `runs` in `data`.
        presence_scans: test scans of the presence task; by default `task1` in `data`.
        severity_scans: those of the severity task; by default `task2` in `data`.
        temperature: apply the temperatures that `crossval` fitted; by default as each set says.
        line_format: how names stand in a file: `plain`, `header` or `row`.
        output_dir: folder of the results, where what networks predicted is kept.
        overwrite: replace earlier submissions there.
        skip_errors, device, jobs, batch_size: as of `cov3d.predict`.
        listener: hears what is done, and what a user should know.

    Raises:
        SubmissionError: the sets or the test scans are not as they should be; MissingRunsError where runs are missing.
            CheckpointError, ScanError, DatasetError, OutputError: as of `cov3d.predict`.
    """
    from cov3d.challenge import submit as submissions
    from cov3d.training.device import choose_device

    target, root, folder = choose_device(device), Path(data), Path(output_dir)
    form = choice(LineFormat, line_format, "line_format")
    sets = _sets(which, temperature)
    checkpoints = _checkpoints(sets, Runs(Path(runs or root / "runs"), root))
    tasks = [task for task in (Task.PRESENCE, Task.SEVERITY) if any(one.task == task for one in sets)]
    networks = {task: _distinct(checkpoints[one] for one in sets if one.task == task) for task in tasks}
    for task in tasks:
        submissions.check_networks(networks[task], task)
    given = {Task.PRESENCE: presence_scans, Task.SEVERITY: severity_scans}
    places = {Task.PRESENCE: root / "task1", Task.SEVERITY: root / "task2"}
    left_out: list[LeftOut] = []
    named = {task: _test_scans(given[task], places[task], task, left_out, listener) for task in tasks}
    manifests = {task: submissions.manifest_name(task) for task in tasks}
    names = (*_results(sets, folder), submissions.TABLES, submissions.OVERVIEW, LEFT_OUT, *manifests.values())
    how = _SubmitOptions(target, batch_size, skip_errors, default_jobs(jobs))
    with claimed(folder, names, overwrite=overwrite, what="submissions", command="cov3d submit"):
        kept = folder / submissions.MEMBERS
        predicted = {task: _predict(task, named[task], networks[task], kept / task, how, listener) for task in tasks}
        with staged(folder, names) as to:
            written = submissions.write_all(sets, checkpoints, predicted, manifests, to, form)
            save_left_out(left_out, to / LEFT_OUT)
    failed = {f"{task}: {scan}": reason for task, found in predicted.items() for scan, reason in found.failed.items()}
    return Submitted(written, failed, tuple(left_out), folder)


def _sets(which: str | Path, temperature: bool | None) -> list[SubmissionSet]:
    paper = str(which) == submission_sets.PAPER
    sets = submission_sets.paper_sets() if paper else submission_sets.load_sets(Path(which))
    return sets if temperature is None else [replace(one, fitted_temperature=temperature) for one in sets]


def _results(sets: Sequence[SubmissionSet], folder: Path) -> list[str]:
    """The folders of the sets, and of an earlier call's: what is counted in the overview is all that stands there."""
    before = [f"{one.parent.name}/{one.name}" for task in Task for one in folder.glob(f"{task}/[0-9]*")]
    return [*dict.fromkeys([*(one.place for one in sets), *before])]


def _checkpoints(sets: Sequence[SubmissionSet], runs: Runs) -> dict[SubmissionSet, list[Path]]:
    """The checkpoints of each set.

    Raises:
        MissingRunsError: runs are missing; it holds the command that makes each.
    """
    found = {one: submission_sets.checkpoints_of(one, runs) for one in sets}
    missing = [*dict.fromkeys(run for _, absent in found.values() for run in absent)]
    if missing:
        number = f"{len(missing)} run{'s' * (len(missing) > 1)}"
        sentence = f"{number} missing for {len(sets)} sets of submissions: make them with the commands above"
        raise MissingRunsError(sentence, missing)
    return {one: files for one, (files, _) in found.items()}


def _distinct(lists: Iterable[Sequence[Path]]) -> list[Path]:
    """What stands in lists, each once, in order."""
    return list(dict.fromkeys(value for part in lists for value in part))


def _test_scans(
    given: Paths | None, default: Path, task: Task, left_out: list[LeftOut], listener: Listener
) -> dict[str, Path]:
    """The test scans of a task, by name; what looks like one and is not taken is added to `left_out`."""
    if not given and not default.is_dir():
        raise SubmissionError(f"there are no test scans at {default}: give their folder with --{task}-scans")
    discovered = discover(paths_of(given or default, "scan"))
    named = name_scans(discovered.scans)
    check_names(named)
    listener.warn_of_all([f"left out: {left}" for left in discovered.left_out])
    left_out += discovered.left_out
    return named


def _predict(
    task: Task, scans: dict[str, Path], networks: Sequence[Path], kept: Path, how: _SubmitOptions, listener: Listener
) -> "NetworkPredictions":
    """What each network says of each test scan of a task, but for what is in the folder `kept` already."""
    from cov3d.challenge.member_cache import predict_networks

    by = f"{len(networks)} network{'s' * (len(networks) > 1)}"
    listener.say(f"{task}: {len(scans)} scans by {by}, on {how.device}")
    with (
        skipping_named(scans, skip_errors=how.skip_errors),
        listener.stoppable(f"what was predicted is kept in {kept}, and the same command continues"),
        listener.progress(f"predicting {task}", len(scans)) as advance,
    ):
        found = predict_networks(
            scans,
            networks,
            kept,
            device=how.device,
            batch_size=how.batch_size,
            skip_errors=how.skip_errors,
            on_scan=advance,
            **spread_over(how.processors, len(scans)),
        )
    if found.kept:
        listener.say(f"{found.kept} of {len(scans) * len(networks)} predictions were there already, in {kept}")
    listener.warn_of_all([f"{scan}: {reason}" for scan, reason in found.doubtful.items()])
    return found


@dataclass(frozen=True)
class SubmissionCheck:
    """Folders of submission files, checked.

    Attributes:
        found: the counts and the problems of each folder.
        scans: the number of test scans.
    """

    found: Mapping[Path, Checked]
    scans: int

    @property
    def problems(self) -> int:
        """How many problems there are."""
        return sum(len(checked.problems) for checked in self.found.values())


def check_submission(
    folders: Paths,
    scans: Paths,
    *,
    task: str | None = None,
    line_format: str = LineFormat.PLAIN,
    allow_empty: bool = False,
    listener: Listener = SILENT,
) -> SubmissionCheck:
    """Check that each test scan stands in exactly one submission file, and nothing else does.

    Args:
        folders: of submission files.
        scans: the test scans, or folders of them.
        task: whose files there should be; by default the tasks that have files.
        line_format: how names stand in a file: `plain`, `header` or `row`.
        allow_empty: let a file be empty.
        listener: hears of what looks like a scan and was not taken.

    Raises:
        SubmissionError: a file can't be read. Problems are returned, not raised.
    """
    discovered = discover(paths_of(scans, "scan"))
    listener.warn_of_all([f"left out: {left}" for left in discovered.left_out])
    names = list(name_scans(discovered.scans))
    found = {
        folder: check.check_submission(
            folder,
            names,
            task=None if task is None else choice(Task, task, "task"),
            line_format=choice(LineFormat, line_format, "line_format"),
            allow_empty=allow_empty,
        )
        for folder in paths_of(folders, "folder")
    }
    return SubmissionCheck(found, len(names))
