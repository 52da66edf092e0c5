"""The command `infer`: raw scans and checkpoints in, predictions and submission files out."""

from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, progress, say, say_some
from cov3d.app.left_out import end_with, say_left_out
from cov3d.inference.line_format import LineFormat
from cov3d.inference.naming import NameBy
from cov3d.inference.task import Task


def infer(
    self: Any,
    checkpoint: list[Path] = Param(
        ..., help="A checkpoint; give several to average them.", rich_help_panel=options.INPUT
    ),
    scans: list[Path] = Param(
        ..., help="A scan, or a folder of scans at any depth; any number.", rich_help_panel=options.INPUT
    ),
    series: str = Param(
        "",
        help="Take this DICOM series for its exam: its UID, or its short name.",
        show_default="chosen by rule",
        rich_help_panel=options.INPUT,
    ),
    name_by: NameBy = Param(
        NameBy.PATH,
        help="What scans are named by in the results; with series, short names that hold no path.",
        rich_help_panel=options.OUTPUT,
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
    from cov3d.files import claim_folder, write_text
    from cov3d.inference import submission as submissions
    from cov3d.inference.intake import FILE_NAME as INTAKE
    from cov3d.inference.intake import intake_table, save_intake
    from cov3d.inference.names import name_scans
    from cov3d.inference.predict import load_members, predict_scans
    from cov3d.readers import discover
    from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
    from cov3d.readers.left_out import save_left_out
    from cov3d.training.device import choose_device
    from cov3d.training.predictions import save_predictions

    target = choose_device(device)
    members = load_members(checkpoint, target)
    if submission:
        submissions.check_categories(members[0].info.categories, task)
    discovered = discover(scans, series)
    named = name_scans(discovered.scans, NameBy(name_by))
    if submission:
        submissions.check_names(named)
    names = ("predictions.csv", "manifest.csv", INTAKE, LEFT_OUT, *submissions.FILES)
    claim_folder(output_dir, names, overwrite=overwrite, what="predictions")
    say_left_out(discovered.left_out)
    say(f"predicting {len(named)} scans with {len(members)} checkpoint{'s' * (len(members) > 1)}, on {target}")
    processors = options.default_jobs(jobs)
    processes = min(processors, len(named))
    with progress("predicting", len(named)) as advance:
        done: list[str] = []

        def on_scan(scan: str) -> None:
            done.append(scan)
            advance(len(done))

        found = predict_scans(
            named,
            members,
            device=target,
            jobs=0 if processes == 1 else processes,
            threads=processors // processes,
            batch_size=batch_size,
            skip_errors=skip_errors,
            on_scan=on_scan,
        )
    save_predictions(found.table, output_dir / "predictions.csv")
    write_text(output_dir / "manifest.csv", found.manifest.to_csv(index=False, lineterminator="\n"))
    save_left_out(discovered.left_out, output_dir / LEFT_OUT)
    save_intake(intake_table(found.manifest, found.failed, discovered.left_out), output_dir)
    say_some([f"{scan}: {reason}" for scan, reason in found.doubtful.items()])
    for call, count in found.table["presence"].value_counts().sort_index().items():
        say(f"{count} scans called {call}")
    if submission:
        categories = members[0].info.categories
        written = submissions.write_submission(found.table, categories, output_dir, task, LineFormat(line_format))
        say("names written: " + ", ".join(f"{name} {count}" for name, count in written.items()))
    say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    end_with(found.failed, discovered.left_out, output_dir / LEFT_OUT)
    return found
