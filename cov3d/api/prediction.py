"""`cov3d.predict`: scans and checkpoints in, predictions out; files where a folder is given."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cov3d.api import prediction_files as files
from cov3d.api.arguments import choice, paths_of
from cov3d.api.inputs import skipping_named
from cov3d.api.prediction_files import PredictionResult, Submission
from cov3d.api.prediction_inputs import Inputs, find, stored
from cov3d.api.preprocessing import parse_shard
from cov3d.challenge import submission as submissions
from cov3d.challenge.line_format import LineFormat
from cov3d.errors import Cov3dError
from cov3d.inference.about import about, map_note, task_note
from cov3d.inference.intake import intake_table
from cov3d.inference.job import Job
from cov3d.inference.naming import NameBy
from cov3d.inference.networks import Extras, ScanPrediction, arithmetic
from cov3d.inference.predict import Predictions, Source
from cov3d.inference.shares import Share
from cov3d.inference.stored_scans import check_size, open_store
from cov3d.inference.task import Task
from cov3d.listener import SILENT, Listener
from cov3d.preprocessing.store import Store
from cov3d.processors import default_jobs
from cov3d.training import checkpoint
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.device import choose_device
from cov3d.training.options import Precision
from cov3d.words import counted

__all__ = ["PredictionResult", "predict"]


def predict(
    scans: str | Path | Iterable[str | Path] | None,
    checkpoints: str | Path | Iterable[str | Path],
    *,
    device: str = "auto",
    precision: str = Precision.AUTO,
    jobs: int | None = None,
    batch_size: int = 2,
    skip_errors: bool = False,
    explain: bool = False,
    mc_dropout: int = 0,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    task: str = Task.BOTH,
    submission: bool = False,
    line_format: str = LineFormat.PLAIN,
    series: str = "",
    name_by: str = NameBy.PATH,
    from_store: str | Path | None = None,
    shard: str | None = None,
    dask: str | None = None,
    listener: Listener = SILENT,
) -> PredictionResult | None:
    """Predict presence and severity of scans by the mean of networks. For research only.

    Args:
        scans: a scan, or a folder of scans at any depth; or several. None with `from_store`.
        checkpoints: a checkpoint, or several to average.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (half precision on a GPU, float32 on a CPU), `fp32`, `bf16` or `fp16`. With `explain`, `auto`
            is float32.
        jobs: processes that preprocess scans; by default one for each processor.
        batch_size: scans per forward pass.
        skip_errors: skip scans that can't be read; they are in `failed` then.
        explain: find what spoke for each prediction: lung zones, and maps in `output_dir`.
        mc_dropout: predictions of each scan with dropout on, for its `spread`; 0 for none.
        output_dir: folder of the results; by default nothing is written.
        overwrite: replace an earlier result in `output_dir`.
        task: `presence`, `severity` or `both`: which submission files to write.
        submission: write the challenge's submission files to `output_dir` too.
        line_format: how names stand in them: `plain`, `header` or `row`.
        series: take this DICOM series for its exam: its UID, or its short name; by default one is chosen by rule.
        name_by: `path`, or `series` for short names without paths, also of failed scans and of other files.
        from_store: predict the volumes of this store, in place of raw scans.
        shard: `3/64` for the third of 64 shares of the scans. The last share to finish writes the results of all.
        dask: address of the scheduler of a Dask cluster that does the work instead.
        listener: hears what is done, and what a user should know.

    Returns:
        The predictions; None if other shares are not finished.

    Raises:
        Cov3dError: bad input. ScanError: a scan can't be read, and `skip_errors` is not set, or none can be read.
            CheckpointError: a file is no checkpoint, or the checkpoints don't go together. DatasetError: scans of one
            name for submission files. StoreError: the store can't be used. ClusterError: the cluster can't be used.
            OutputError: the folder holds results already or can't be written.
    """
    wanted = Submission(choice(Task, task, "task"), submission, choice(LineFormat, line_format, "line_format"))
    folder = None if output_dir is None else Path(output_dir)
    share = Share() if shard is None else Share(*parse_shard(shard))
    _check_numbers(batch_size, jobs, mc_dropout)
    _check_together(folder, share, wanted, explain=explain, store=from_store, scans=scans, dask=dask)
    target = choose_device(device)
    store = None if from_store is None else open_store(Path(from_store))
    by = choice(NameBy, name_by, "name_by")
    inputs = find(paths_of(scans or [], "scan"), series, by) if store is None else stored(store)
    paths = paths_of(checkpoints, "checkpoint")
    job = Job(
        inputs.scans,
        paths,
        _check(inputs.scans, paths, wanted, store),
        target,
        store,
        Extras(draw=folder is not None, explain=explain, dropout_passes=mc_dropout),
        arithmetic(precision, target, explain=explain),
        batch_size,
        default_jobs(jobs),
        skip_errors,
        share,
        dask,
    )
    return _run(job, wanted, folder, inputs, listener, overwrite=overwrite)


def _run(
    job: Job,
    wanted: Submission,
    folder: Path | None,
    inputs: Inputs,
    listener: Listener,
    *,
    overwrite: bool,
) -> PredictionResult | None:
    """Predict, and write the results."""
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(files.claim(folder, job.share, overwrite=overwrite))
        source = stack.enter_context(job.source())  # last: loading networks takes longest
        listener.warn_of_left_out([f"left out: {left}" for left in inputs.left_out])
        _say_what_begins(job, wanted.task, listener)
        kept = None if folder is None else job.kept_in(folder)
        found = _predict(job, source, folder, listener)
        if folder is not None and kept is not None and not job.share.is_all:
            stack.enter_context(files.claim_results(folder, overwrite=overwrite))
            merged = job.merged(kept)
            if merged is None:
                listener.say(f"share {job.share} is done: the results are written when all shares are done")
                return None
            found = merged
        _say_result(found, job, listener)
        made = _result(found, job, inputs)
        if folder is None or kept is None:
            return made
        made = files.write(made, job, wanted, folder, kept)
        kept.remove()
    if wanted.is_wanted:
        listener.say("names written: " + ", ".join(f"{name} {count}" for name, count in made.names_written.items()))
    return made


def _check_numbers(batch_size: int, jobs: int | None, mc_dropout: int) -> None:
    if batch_size < 1 or (jobs is not None and jobs < 1):
        raise Cov3dError("batch_size and jobs must be at least 1")
    if mc_dropout < 0 or mc_dropout == 1:
        raise Cov3dError("mc_dropout must be 0 or at least 2: one pass has no spread")


def _check_together(
    folder: Path | None,
    share: Share,
    wanted: Submission,
    *,
    explain: bool,
    store: str | Path | None,
    scans: str | Path | Iterable[str | Path] | None,
    dask: str | None,
) -> None:
    """Refuse arguments that cannot be combined, or of which one is missing."""
    if wanted.is_wanted and folder is None:
        raise Cov3dError("submission files are written to output_dir: give it, or leave submission out")
    if not share.is_all and folder is None:
        raise Cov3dError("shares are merged in output_dir: give it, or leave shard out")
    if (scans is None) == (store is None):
        raise Cov3dError("give either scans or from_store (--scans or --from-store)")
    if store is not None and (explain or dask is not None):
        other = "--explain" if explain else "--dask"
        raise Cov3dError(f"--from-store and {other} cannot be combined: give --scans")
    if dask is not None and not share.is_all:
        raise Cov3dError("--dask and --shard cannot be combined: give one of them")


def _check(
    named: Mapping[str, Path], paths: Sequence[Path], wanted: Submission, store: Store | None
) -> list[CheckpointInfo]:
    """Refuse, before networks are loaded, what could not be predicted or written; return the checkpoints' metadata."""
    if wanted.is_wanted:
        submissions.check_names(named)
    infos = [checkpoint.read_info(file) for file in paths]
    if wanted.is_wanted:
        submissions.check_categories(infos[0].categories, wanted.task)
    if store is not None:
        check_size(store, infos)
    return infos


def _say_what_begins(job: Job, task: Task, listener: Listener) -> None:
    precision = "" if job.device.type == "cpu" and job.amp is None else f", in {job.amp or 'fp32'}"
    where = f"by the Dask cluster at {job.dask}" if job.dask else f"on {job.device}"
    share = "" if job.share.is_all else f"share {job.share}: "
    count = len(job.checkpoints)
    listener.say(
        f"{share}predicting {counted(len(job.own_scans), 'scan')} with {counted(count, 'checkpoint')}, "
        f"{where}{precision}"
    )
    for sentence in about(job.infos):
        listener.say(sentence)
    for note in (task_note(job.infos, task), map_note(job.infos) if job.extras.explain else ""):
        if note:
            listener.say(note)


def _predict(job: Job, source: Source, folder: Path | None, listener: Listener) -> Predictions:
    """The predictions of the job's scans, with their pictures and maps kept in `folder`."""
    becomes = f"what was predicted is kept in {folder}, and the same command continues" if folder else "nothing is kept"
    kept = None if folder is None else job.kept_in(folder)
    n_scans = len(job.own_scans)
    with (
        skipping_named(job.own_scans, skip_errors=job.skip_errors),
        listener.stoppable(becomes),
        listener.progress("predicting", n_scans) as advance,
    ):
        done = 0

        def on_scan(prediction: ScanPrediction | None) -> None:
            nonlocal done
            done += 1
            if kept is not None and prediction is not None and prediction.error is None:
                files.keep_pictures(prediction, kept)
            advance(done)

        found = job.run(source, kept, on_scan)
    if found.kept:
        listener.say(f"{found.kept} of {n_scans} scans were predicted by an earlier call that did not finish")
    return found


def _say_result(found: Predictions, job: Job, listener: Listener) -> None:
    if found.review:
        listener.say(f"{len(found.review)} of {len(found.table)} predictions should be reviewed by a person")
    for call, count in found.table["presence"].value_counts().sort_index().items():
        listener.say(f"{counted(count, 'scan')} predicted {call}")


def _result(found: Predictions, job: Job, inputs: Inputs) -> PredictionResult:
    failed = inputs.without_paths(found.failed)
    return PredictionResult(
        table=found.table,
        manifest=found.manifest,
        intake=intake_table(found.manifest, failed, [*inputs.left_out, *inputs.passed_over]),
        review=found.review,
        spread=found.spread,
        zones=found.zones,
        failed=failed,
        left_out=inputs.left_out,
        passed_over=inputs.passed_over,
        about=tuple(about(job.infos)),
    )
