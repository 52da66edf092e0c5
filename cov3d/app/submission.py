"""Commands on submissions: `submit`, which makes them, and `check-submission`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, out, progress, say, say_error, say_some, say_warning, stoppable
from cov3d.app.left_out import end_with, say_left_out
from cov3d.challenge.line_format import LineFormat
from cov3d.inference.task import Task


def submit(
    self: Any,
    which: str = Param(
        "paper",
        param_decls=("--set",),
        help="The submissions to make: paper, the ten of its section 6; or a CSV or JSON file with "
        "task,number,members,folds,threshold and, if wanted, fitted_temperature, such as cov3d ensemble writes.",
        metavar="paper|FILE",
        rich_help_panel=options.INPUT,
    ),
    data: Path = options.data(),
    runs: Path = Param(
        None, help="Folder of the experiments' runs.", show_default="DATA/runs", rich_help_panel=options.INPUT
    ),
    presence_scans: list[Path] = Param(
        None,
        help="Test scans of the presence task: a folder of them at any depth; any number.",
        show_default="DATA/task1",
        rich_help_panel=options.INPUT,
    ),
    severity_scans: list[Path] = Param(
        None, help="Those of the severity task.", show_default="DATA/task2", rich_help_panel=options.INPUT
    ),
    temperature: bool = Param(
        None,
        help="Apply the temperatures that crossval fitted.",
        show_default="as each set says; the paper's are without",
        rich_help_panel=options.INPUT,
    ),
    line_format: LineFormat = options.line_format(),
    output_dir: Path = Param(
        Path("submissions"),
        help="Folder of the results; what networks predicted is kept there, and not predicted again.",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    skip_errors: bool = options.skip_errors(),
    device: str = options.device(),
    jobs: int = options.jobs(),
    batch_size: int = options.batch_size(),
) -> Any:
    """Make sets of submission files from the runs of experiments: presence/1, presence/2, … severity/1, …

    Each scan is preprocessed once and each network predicts it once, however many sets it is in.
    """
    from cov3d.challenge import sets as submission_sets
    from cov3d.challenge import submit as submissions
    from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
    from cov3d.readers.left_out import save_left_out
    from cov3d.results import claimed, staged
    from cov3d.training.device import choose_device

    target = choose_device(device)
    sets = submission_sets.paper_sets() if which == submission_sets.PAPER else submission_sets.load_sets(Path(which))
    if temperature is not None:
        sets = [replace(one, fitted_temperature=temperature) for one in sets]
    checkpoints = _checkpoints(sets, runs or data / "runs", data)
    tasks = [task for task in (Task.PRESENCE, Task.SEVERITY) if any(one.task == task for one in sets)]
    networks = {task: _distinct(checkpoints[one] for one in sets if one.task == task) for task in tasks}
    for task in tasks:
        submissions.check_networks(networks[task], task)
    given = {Task.PRESENCE: presence_scans, Task.SEVERITY: severity_scans}
    places = {Task.PRESENCE: data / "task1", Task.SEVERITY: data / "task2"}
    left_out: list[Any] = []
    named = {task: _test_scans(given[task], places[task], task, left_out) for task in tasks}
    # Submissions of an earlier call too: what is counted in the overview is all that stands there.
    before = [f"{folder.parent.name}/{folder.name}" for task in Task for folder in output_dir.glob(f"{task}/[0-9]*")]
    results = [*dict.fromkeys([*(one.place for one in sets), *before])]
    manifests = {task: f"manifest-{task}.csv" for task in tasks}
    names = (*results, submissions.TABLES, submissions.OVERVIEW, LEFT_OUT, *manifests.values())
    how = {"device": target, "batch_size": batch_size, "skip_errors": skip_errors}
    with claimed(output_dir, names, overwrite=overwrite, what="submissions", command="cov3d submit"):
        predicted = {}
        for task in tasks:
            kept = output_dir / submissions.MEMBERS / task
            predicted[task] = _predict(task, named[task], networks[task], kept, options.default_jobs(jobs), how)
        with staged(output_dir, names) as to:
            written = submissions.write_all(sets, checkpoints, predicted, manifests, to, LineFormat(line_format))
            save_left_out(left_out, to / LEFT_OUT)
    failed = {f"{task}: {scan}": reason for task, found in predicted.items() for scan, reason in found.failed.items()}
    _say_written(written, output_dir)
    say(RESEARCH_ONLY)
    end_with(failed, left_out, output_dir / LEFT_OUT)
    return written


def _predict(
    task: Task, scans: dict[str, Path], networks: list[Path], kept: Path, processors: int, how: dict[str, Any]
) -> Any:
    """What each network says of each test scan of a task, but for what is in the folder `kept` already."""
    from cov3d.challenge.member_cache import predict_networks

    by = f"{len(networks)} network{'s' * (len(networks) > 1)}"
    say(f"{task}: {len(scans)} scans by {by}, on {how['device']}")
    processes = min(processors, len(scans))
    with (
        stoppable(f"what was predicted is kept in {kept}, and the same command goes on"),
        progress(f"predicting {task}", len(scans)) as advance,
    ):
        found = predict_networks(
            scans,
            networks,
            kept,
            jobs=0 if processes == 1 else processes,
            threads=processors // processes,
            on_scan=advance,
            **how,
        )
    if found.kept:
        say(f"{found.kept} of {len(scans) * len(networks)} predictions were there already, in {kept}")
    say_some([f"{scan}: {reason}" for scan, reason in found.doubtful.items()])
    return found


def _checkpoints(sets: list[Any], runs: Path, data: Path) -> dict[Any, list[Path]]:
    """The checkpoints of each set; every run that is missing is said, with the command that makes it."""
    from cov3d.challenge.runs import Runs
    from cov3d.challenge.sets import checkpoints_of
    from cov3d.errors import SubmissionError

    known = Runs(runs, data)
    found = {one: checkpoints_of(one, known) for one in sets}
    missing = _distinct(str(run) for _, absent in found.values() for run in absent)
    if missing:
        for run in missing:
            say_error(run)
        number = f"{len(missing)} run{'s' * (len(missing) > 1)}"
        raise SubmissionError(f"{number} missing for {len(sets)} sets of submissions: make them as said above")
    return {one: files for one, (files, _) in found.items()}


def _distinct(lists: Any) -> list[Any]:
    """What stands in lists, or among values, each once, in order."""
    values = [value for part in lists for value in (part if isinstance(part, list) else [part])]
    return list(dict.fromkeys(values))


def _test_scans(given: list[Path] | None, default: Path, task: Task, left_out: list[Any]) -> dict[str, Path]:
    """The test scans of a task, by name; what looks like one and is not taken is added to `left_out`."""
    from cov3d.challenge.submission import check_names
    from cov3d.errors import SubmissionError
    from cov3d.inference.names import name_scans
    from cov3d.readers import discover

    if not given and not default.is_dir():
        raise SubmissionError(f"there are no test scans at {default}: give their folder with --{task}-scans")
    discovered = discover(given or [default])
    named = name_scans(discovered.scans)
    check_names(named)
    say_left_out(discovered.left_out)
    left_out += discovered.left_out
    return named


def _say_written(written: list[Any], folder: Path) -> None:
    from cov3d.reports.submissions import submission_table

    out().print(submission_table(written))
    for made in written:
        if empty := [name for name, count in made.counts.items() if not count]:
            say_warning(f"{folder / made.of.place}: {', '.join(empty)} without a name: no scan is called so")
    say(f"results in {folder}; check a folder with cov3d check-submission")


def check_submission(
    self: Any,
    folder: list[Path] = typer.Argument(..., help="A folder of submission files; any number."),
    scans: list[Path] = Param(
        ..., help="The test scans: a folder of them at any depth; any number.", rich_help_panel=options.INPUT
    ),
    task: Task = Param(
        None,
        help="Whose files there should be. With both, the severity files hold the scans of covid.csv; with severity, "
        "every scan.",
        show_default="those of which there are any",
        rich_help_panel=options.INPUT,
    ),
    line_format: LineFormat = options.line_format(),
    allow_empty: bool = Param(
        False, help="Let a file be empty, as when no scan is called critical.", rich_help_panel=options.INPUT
    ),
) -> Any:
    """Check that each test scan stands in exactly one submission file, and nothing else does; print the counts."""
    from cov3d.challenge import check
    from cov3d.errors import SubmissionError
    from cov3d.inference.names import name_scans
    from cov3d.readers import discover

    discovered = discover(scans)
    say_left_out(discovered.left_out)
    names = list(name_scans(discovered.scans))
    found = {}
    for one in folder:
        found[one] = check.check_submission(
            one,
            names,
            task=None if task is None else Task(task),
            line_format=LineFormat(line_format),
            allow_empty=allow_empty,
        )
        counts = ", ".join(f"{name} {count}" for name, count in found[one].counts.items())
        say(f"{one}: {len(names)} test scans; {counts or 'no file'}")
        say_some([f"{one}: {problem}" for problem in found[one].problems], most=50)
    if wrong := sum(len(checked.problems) for checked in found.values()):
        where = str(folder[0]) if len(folder) == 1 else f"these {len(folder)} folders"
        raise SubmissionError(f"{wrong} problem{'s' * (wrong > 1)} in {where}: not to be submitted like this")
    say("every test scan stands in exactly one file of its task, and nothing else does")
    return found
