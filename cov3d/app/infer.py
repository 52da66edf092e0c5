"""The command `infer`: raw scans and checkpoints in, predictions and submission files out."""

from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, progress, say, say_some, stoppable
from cov3d.app.left_out import end_with, say_left_out
from cov3d.challenge.line_format import LineFormat
from cov3d.inference.task import Task


def infer(
    self: Any,
    checkpoint: list[Path] = Param(
        ..., help="A checkpoint; give several to average them.", rich_help_panel=options.INPUT
    ),
    scans: list[Path] = Param(
        ..., help="A scan, or a folder of scans at any depth; any number.", rich_help_panel=options.INPUT
    ),
    task: Task = Param(
        Task.BOTH,
        help="Which submission files to write. With both, the severity files hold the scans called positive; "
        "with severity, every scan.",
        rich_help_panel=options.OUTPUT,
    ),
    submission: bool = Param(True, help="Write the submission files.", rich_help_panel=options.OUTPUT),
    line_format: LineFormat = options.line_format(),
    output_dir: Path = Param(Path("predictions"), help="Folder of the results.", rich_help_panel=options.OUTPUT),
    overwrite: bool = options.overwrite(),
    skip_errors: bool = options.skip_errors(),
    device: str = options.device(),
    jobs: int = options.jobs(),
    batch_size: int = options.batch_size(),
) -> Any:
    """Predict presence and severity for raw scans, and write the challenge's submission files."""
    from cov3d.challenge import submission as submissions
    from cov3d.inference.names import name_scans
    from cov3d.inference.predict import load_members
    from cov3d.readers import discover
    from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
    from cov3d.results import claimed
    from cov3d.training.checkpoint import read_info
    from cov3d.training.device import choose_device

    target = choose_device(device)
    discovered = discover(scans)
    named = name_scans(discovered.scans)
    if submission:
        submissions.check_names(named)
    infos = [read_info(file) for file in checkpoint]
    if submission:
        submissions.check_categories(infos[0].categories, task)
    names = ("predictions.csv", "manifest.csv", LEFT_OUT, *submissions.FILES)
    with claimed(output_dir, names, overwrite=overwrite, what="predictions", command="cov3d infer"):
        members = load_members(checkpoint, target)  # last: it takes longest
        say_left_out(discovered.left_out)
        how = {"device": target, "batch_size": batch_size, "skip_errors": skip_errors}
        found, kept = _predict(named, members, output_dir, options.default_jobs(jobs), how)
        how_written = (submission, task, LineFormat(line_format))
        _write(found, discovered.left_out, members[0].info.categories, output_dir, names, *how_written)
        kept.remove()
    say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    end_with(found.failed, discovered.left_out, output_dir / LEFT_OUT)
    return found


def _predict(
    scans: dict[str, Path], members: list[Any], folder: Path, processors: int, how: dict[str, Any]
) -> tuple[Any, Any]:
    """What the networks predict, and where that is kept until the results are in place."""
    from cov3d.inference.kept import KeptPredictions
    from cov3d.inference.predict import predict_scans

    say(f"predicting {len(scans)} scans with {len(members)} checkpoint{'s' * (len(members) > 1)}, on {how['device']}")
    kept = KeptPredictions(folder, [member.file for member in members if member.file is not None])
    processes = min(processors, len(scans))
    with (
        stoppable(f"what was predicted is kept in {folder}, and the same command continues"),
        progress("predicting", len(scans)) as advance,
    ):
        done: list[str] = []

        def on_scan(scan: str) -> None:
            done.append(scan)
            advance(len(done))

        found = predict_scans(
            scans,
            members,
            jobs=0 if processes == 1 else processes,
            threads=processors // processes,
            on_scan=on_scan,
            kept=kept,
            **how,
        )
    if found.kept:
        say(f"{found.kept} of {len(scans)} scans were predicted before the command was interrupted")
    say_some([f"{scan}: {reason}" for scan, reason in found.doubtful.items()])
    for call, count in found.table["presence"].value_counts().sort_index().items():
        say(f"{count} scans called {call}")
    return found, kept


def _write(
    found: Any,
    left_out: list[Any],
    categories: tuple[str, ...],
    folder: Path,
    names: tuple[str, ...],
    submission: bool,
    task: Task,
    line_format: LineFormat,
) -> None:
    """Write the results; an earlier one stays until they are complete."""
    from cov3d.challenge import submission as submissions
    from cov3d.evaluation.predictions import save_predictions
    from cov3d.files import write_text
    from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
    from cov3d.readers.left_out import save_left_out
    from cov3d.results import staged

    with staged(folder, names) as to:
        save_predictions(found.table, to / "predictions.csv")
        write_text(to / "manifest.csv", found.manifest.to_csv(index=False, lineterminator="\n"))
        save_left_out(left_out, to / LEFT_OUT)
        if submission:
            written = submissions.write_submission(found.table, categories, to, task, line_format)
    if submission:
        say("names written: " + ", ".join(f"{name} {count}" for name, count in written.items()))
