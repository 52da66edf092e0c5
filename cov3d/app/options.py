"""Options that several commands share."""

from pathlib import Path
from typing import TypedDict

from torchapp import Param

from cov3d.api.inputs import elsewhere as elsewhere
from cov3d.challenge.line_format import LineFormat
from cov3d.processors import cpus as cpus
from cov3d.processors import default_jobs as default_jobs
from cov3d.processors import default_workers as default_workers

INPUT, OUTPUT, COMPUTE = "Input", "Output", "Compute"


class ScanTableOptions(TypedDict):
    """The values of the options that `data.scan_table` declares."""

    data: Path
    table: Path | None
    strict: bool


def data() -> Param:
    return Param(Path(), help="Root folder of the dataset.", rich_help_panel=INPUT)


def table() -> Param:
    return Param(None, help="The scan table.", show_default="DATA/scans.csv", rich_help_panel=INPUT)


def strict() -> Param:
    return Param(
        False,
        help="Exit with an error if the scan table no longer fits the dataset (scans added or "
        "removed, labels corrected). Without it, this is a warning.",
        rich_help_panel=INPUT,
    )


def store() -> Param:
    return Param(
        None,
        help="Folder of the preprocessed volumes.",
        show_default="DATA/preprocessed/SIZE",
        rich_help_panel=INPUT,
    )


def sources() -> Param:
    return Param(
        None,
        help="A CSV file with the columns scan,source: also report scores for each source, such as a hospital.",
        show_default="the column centre of the scan table, if there",
        rich_help_panel=INPUT,
    )


def device() -> Param:
    return Param("auto", help="auto, cpu, cuda or cuda:N.", rich_help_panel=COMPUTE)


def jobs() -> Param:
    return Param(
        None,
        param_decls=("--jobs", "-j"),
        min=1,
        help="Processes that preprocess scans.",
        show_default="the processors available",
        rich_help_panel=COMPUTE,
    )


def shard() -> Param:
    return Param(
        None,
        help="Preprocess one share of the scans only: 3/64 is the third of 64. In a Slurm array with --array=1-64: "
        "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT.",
        metavar="N/OF",
        rich_help_panel=COMPUTE,
    )


def dask() -> Param:
    return Param(
        None,
        help="Do the work on the Dask cluster whose scheduler is at this address (tcp://HOST:8786), not here.",
        metavar="ADDRESS",
        rich_help_panel=COMPUTE,
    )


def skip_errors() -> Param:
    return Param(
        False,
        help="Skip scans that can't be read, list them at the end and exit with 3.",
        rich_help_panel=OUTPUT,
    )


def overwrite() -> Param:
    return Param(False, help="Replace earlier results in the output folder.", rich_help_panel=OUTPUT)


def batch_size() -> Param:
    return Param(2, min=1, help="Scans to a forward pass.", rich_help_panel=COMPUTE)


def line_format() -> Param:
    return Param(
        LineFormat.PLAIN,
        help="Layout of the names in a submission file: plain, one a line; header, one a line "
        "under a header; row, one line with commas.",
        rich_help_panel=OUTPUT,
    )


def workers() -> Param:
    return Param(
        None,
        min=0,
        help="Processes that load volumes; the result does not depend on them.",
        show_default="0 on a CPU; on a GPU its share of the processors, up to 8",
        rich_help_panel=COMPUTE,
    )
