"""The command `infer`: scans and checkpoints in, predictions and submission files out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, out, say
from cov3d.app.left_out import end_with_table
from cov3d.challenge.line_format import LineFormat
from cov3d.inference.naming import NameBy
from cov3d.inference.task import Task
from cov3d.training.options import Precision

if TYPE_CHECKING:
    from cov3d.api.prediction import PredictionResult


class _InferPrinter(Printer):
    def warn_of_left_out(self, sentences: Sequence[str]) -> None:
        """Print nothing: the table at the end names the same files and folders."""


def infer(
    self: object,
    checkpoint: list[Path] = Param(
        ..., help="A checkpoint; give several to average them.", rich_help_panel=options.INPUT
    ),
    scans: list[Path] = Param(
        None, help="A scan, or a folder of scans at any depth; any number.", rich_help_panel=options.INPUT
    ),
    from_store: Path = Param(
        None,
        help="Predict the volumes of this store of cov3d preprocess, in place of raw scans.",
        rich_help_panel=options.INPUT,
    ),
    series: str = Param(
        "",
        help="Take this DICOM series for its exam: its UID, or its short name.",
        show_default="chosen by rule",
        rich_help_panel=options.INPUT,
    ),
    name_by: NameBy = Param(
        NameBy.PATH,
        help="Name scans and other files in the results by their path, or by short names without a path.",
        rich_help_panel=options.OUTPUT,
    ),
    explain: bool = Param(
        False,
        help="Explain each prediction: maps (NIfTI) over the scans, and the effect of each lung zone. "
        "Takes about nine times as long.",
        rich_help_panel=options.OUTPUT,
    ),
    review_only: bool = Param(
        False, help="List only the scans to review in the table at the end.", rich_help_panel=options.OUTPUT
    ),
    task: Task = Param(
        Task.BOTH,
        help="Which submission files to write. With both, the severity files hold the scans predicted positive; "
        "with severity, every scan.",
        rich_help_panel=options.OUTPUT,
    ),
    submission: bool = Param(True, help="Write the submission files.", rich_help_panel=options.OUTPUT),
    line_format: LineFormat = options.line_format(),
    output_dir: Path = Param(Path("predictions"), help="Folder of the results.", rich_help_panel=options.OUTPUT),
    overwrite: bool = options.overwrite(),
    skip_errors: bool = options.skip_errors(),
    device: str = options.device(),
    precision: Precision = Param(
        Precision.AUTO,
        help="Arithmetic of the networks. auto: half precision on a GPU, fp32 on a CPU and with --explain.",
        rich_help_panel=options.COMPUTE,
    ),
    mc_dropout: int = Param(
        0,
        min=0,
        help="Predict each scan this many more times with dropout on, and report the spread of its probability. "
        "0: off.",
        rich_help_panel=options.COMPUTE,
    ),
    jobs: int = options.jobs(),
    batch_size: int = options.batch_size(),
    shard: str = options.shard(),
    dask: str = options.dask(),
) -> "PredictionResult | None":
    """Predict presence and severity for scans, and write the challenge's submission files.

    The results are tables, a page to look at (infer.html) and, with --explain, maps. For research only.
    """
    from cov3d.api import prediction

    found = prediction.predict(
        scans or None,
        checkpoint,
        device=device,
        precision=precision,
        jobs=jobs,
        batch_size=batch_size,
        skip_errors=skip_errors,
        explain=explain,
        mc_dropout=mc_dropout,
        output_dir=output_dir,
        overwrite=overwrite,
        task=task,
        submission=submission,
        line_format=line_format,
        series=series,
        name_by=name_by,
        from_store=from_store,
        shard=shard,
        dask=dask,
        listener=_InferPrinter(),
    )
    return _shown(found, output_dir, review_only=review_only)


def _shown(found: "PredictionResult | None", output_dir: Path, *, review_only: bool) -> "PredictionResult | None":
    from cov3d.inference.intake import FILE_NAME as INTAKE
    from cov3d.reports.tables import answer_table

    if found is None:
        return None
    out().print(answer_table(found.review_table, review_only=review_only))
    say(f"page of all predictions: {found.page}")
    say(f"results in {output_dir}")
    say(RESEARCH_ONLY)
    end_with_table(found.failed, found.left_out, found.passed_over, output_dir / INTAKE)
    return found
