"""`cov3d.predict`: raw scans and checkpoints in, predictions out; files where a folder is given."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.arguments import choice, paths_of, spread
from cov3d.api.inputs import skipping_named
from cov3d.challenge import submission as submissions
from cov3d.challenge.line_format import LineFormat
from cov3d.errors import Cov3dError
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import write_text
from cov3d.inference import predict as networks
from cov3d.inference.intake import FILE_NAME as INTAKE
from cov3d.inference.intake import intake_table, save_intake
from cov3d.inference.kept import KeptPredictions
from cov3d.inference.names import name_scans
from cov3d.inference.naming import NameBy
from cov3d.inference.short_names import ShortNames
from cov3d.inference.task import Task
from cov3d.listener import SILENT, Listener
from cov3d.preprocessing.store import MANIFEST
from cov3d.processors import default_jobs
from cov3d.readers import LeftOut, discover
from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
from cov3d.readers.left_out import save_left_out
from cov3d.results import claimed, staged
from cov3d.run_files import PREDICTIONS
from cov3d.training import checkpoint
from cov3d.training.device import choose_device

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from cov3d.inference.predict import Member, Predictions

RESULT_FILES = (PREDICTIONS, MANIFEST, INTAKE, LEFT_OUT, *submissions.FILES)


@dataclass(frozen=True)
class Predicted:
    """What was predicted of raw scans.

    Attributes:
        table: the prediction table, sorted by scan: `scan`, a probability of each category (`p_non_covid`, …),
            `presence`, `severity`.
        manifest: how each scan was cropped, and why its prediction may be doubtful.
        intake: how each scan was read, and every file or folder that was given and is not predicted.
        doubtful: why a prediction may not be worth much, by scan.
        failed: what is wrong with the scans that could not be read, by scan; empty without `skip_errors`.
        left_out: files and folders that look like scans and were not taken.
        passed_over: other files and folders that were given.
        names_written: the number of names in each submission file that was written.
    """

    table: "pd.DataFrame"
    manifest: "pd.DataFrame"
    intake: "pd.DataFrame"
    doubtful: dict[str, str]
    failed: dict[str, str]
    left_out: tuple[LeftOut, ...]
    passed_over: tuple[LeftOut, ...] = ()
    names_written: dict[str, int] = field(default_factory=dict)


def predict(
    scans: str | Path | Iterable[str | Path],
    checkpoints: str | Path | Iterable[str | Path],
    *,
    device: str = "auto",
    jobs: int | None = None,
    batch_size: int = 2,
    skip_errors: bool = False,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    task: str = Task.BOTH,
    submission: bool = False,
    line_format: str = LineFormat.PLAIN,
    series: str = "",
    name_by: str = NameBy.PATH,
    listener: Listener = SILENT,
) -> Predicted:
    """Predict presence and severity of raw scans by the mean of networks.

    Args:
        scans: a scan, or a folder of scans at any depth; or several.
        checkpoints: a checkpoint, or several to average.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        jobs: processes that preprocess scans; by default one for each processor.
        batch_size: scans to a forward pass.
        skip_errors: skip scans that can't be read; they are in `failed` then.
        output_dir: folder of the results (`predictions.csv`, `manifest.csv`, perhaps `left-out.csv`); by default
            nothing is written.
        overwrite: replace an earlier result in `output_dir`.
        task: `presence`, `severity` or `both`: which submission files to write.
        submission: write the challenge's submission files to `output_dir` too.
        line_format: how names stand in them: `plain`, `header` or `row`.
        series: take this DICOM series for its exam: its UID, or its short name; by default one is chosen by rule.
        name_by: `path`, or `series` for short names without paths, also of failed scans and of other files.
        listener: hears what is done, and what a user should know.

    Raises:
        Cov3dError: bad input. ScanError: a scan can't be read, and `skip_errors` is not set, or none can be read.
            CheckpointError: a file is no checkpoint, or the checkpoints don't go together. DatasetError: scans of one
            name for submission files. OutputError: the folder holds results already or can't be written.
    """
    chosen = choice(Task, task, "task"), choice(LineFormat, line_format, "line_format")
    folder = None if output_dir is None else Path(output_dir)
    if batch_size < 1 or (jobs is not None and jobs < 1):
        raise Cov3dError("batch_size and jobs are at least 1")
    if submission and folder is None:
        raise Cov3dError("submission files are written to output_dir: give it, or leave submission out")
    target = choose_device(device)
    given, by = paths_of(scans, "scan"), choice(NameBy, name_by, "name_by")
    discovered = discover(given, series)
    named = name_scans(discovered.scans, by)
    short = ShortNames(given) if by == NameBy.SERIES else None
    left_out, passed_over = (_named(entries, short) for entries in (discovered.left_out, discovered.passed_over))
    files = paths_of(checkpoints, "checkpoint")
    _check(named, files, chosen[0], submission=submission)
    with ExitStack() as stack:
        if folder is not None:
            claim = claimed(folder, RESULT_FILES, overwrite=overwrite, what="predictions", command="cov3d infer")
            stack.enter_context(claim)
        members = networks.load_members(files, target)  # last: it takes longest
        listener.warn_of_left_out([f"left out: {left}" for left in left_out])
        kept = (
            None if folder is None else KeptPredictions(folder, [one.file for one in members if one.file is not None])
        )
        how = _PredictOptions(target, batch_size, skip_errors, default_jobs(jobs))
        found = _predict(named, members, how, folder, kept, listener)
        failed = found.failed
        if short is not None:
            failed = {scan: short.hide_in(reason, named[scan], scan) for scan, reason in failed.items()}
        intake = intake_table(found.manifest, failed, [*left_out, *passed_over])
        made = Predicted(found.table, found.manifest, intake, found.doubtful, failed, left_out, passed_over)
        if folder is not None:
            written = _write(made, members[0].info.categories, folder, submission, *chosen)
            made = replace(made, names_written=written)
        if kept is not None:
            kept.remove()
    if submission:
        listener.say("names written: " + ", ".join(f"{name} {count}" for name, count in made.names_written.items()))
    return made


def _named(entries: Sequence[LeftOut], short: ShortNames | None) -> tuple[LeftOut, ...]:
    """Entries by path, or by short names."""
    return tuple(entries) if short is None else tuple(sorted(map(short.hide, entries), key=str))


def _check(named: dict[str, Path], files: Sequence[Path], task: Task, *, submission: bool) -> None:
    """Refuse, before networks are loaded, what could not be predicted or written."""
    if submission:
        submissions.check_names(named)
    infos = [checkpoint.read_info(file) for file in files]
    if submission:
        submissions.check_categories(infos[0].categories, task)


@dataclass(frozen=True)
class _PredictOptions:
    device: "torch.device"
    batch_size: int
    skip_errors: bool
    processors: int


def _predict(
    scans: dict[str, Path],
    members: Sequence["Member"],
    how: _PredictOptions,
    folder: Path | None,
    kept: KeptPredictions | None,
    listener: Listener,
) -> "Predictions":
    """What the networks predict."""
    listener.say(
        f"predicting {len(scans)} scans with {len(members)} checkpoint{'s' * (len(members) > 1)}, on {how.device}"
    )
    becomes = f"what was predicted is kept in {folder}, and the same command continues" if folder else "nothing is kept"
    with (
        skipping_named(scans, skip_errors=how.skip_errors),
        listener.stoppable(becomes),
        listener.progress("predicting", len(scans)) as advance,
    ):
        done: list[str] = []

        def on_scan(scan: str) -> None:
            done.append(scan)
            advance(len(done))

        found = networks.predict_scans(
            scans,
            members,
            device=how.device,
            batch_size=how.batch_size,
            skip_errors=how.skip_errors,
            on_scan=on_scan,
            kept=kept,
            **spread(how.processors, scans),
        )
    if found.kept:
        listener.say(f"{found.kept} of {len(scans)} scans were predicted by an earlier call that did not finish")
    listener.warn_of_all([f"{scan}: {reason}" for scan, reason in found.doubtful.items()])
    for call, count in found.table["presence"].value_counts().sort_index().items():
        listener.say(f"{count} scans predicted {call}")
    return found


def _write(
    made: Predicted,
    categories: tuple[str, ...],
    folder: Path,
    submission: bool,
    task: Task,
    line_format: LineFormat,
) -> dict[str, int]:
    """Write the results; an earlier one stays until they are complete."""
    with staged(folder, RESULT_FILES) as to:
        save_predictions(made.table, to / PREDICTIONS)
        write_text(to / MANIFEST, made.manifest.to_csv(index=False, lineterminator="\n"))
        save_left_out(made.left_out, to / LEFT_OUT)
        save_intake(made.intake, to)
        if submission:
            return submissions.write_submission(made.table, categories, to, task, line_format)
    return {}
