"""The results of `cov3d.predict`, and the files in which they are written."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.challenge import submission as submissions
from cov3d.challenge.line_format import LineFormat
from cov3d.errors import OutputError
from cov3d.evaluation.predictions import save_predictions
from cov3d.files import make_folder, replacing, write_text
from cov3d.inference.intake import FILE_NAME as INTAKE
from cov3d.inference.intake import save_intake
from cov3d.inference.job import Job
from cov3d.inference.kept import KeptPredictions
from cov3d.inference.networks import ScanPrediction
from cov3d.inference.predictor import write_map
from cov3d.inference.shares import Share
from cov3d.inference.task import Task
from cov3d.locks import folder_lock
from cov3d.preprocessing.store import MANIFEST
from cov3d.readers.left_out import FILE_NAME as LEFT_OUT
from cov3d.readers.left_out import LeftOut, save_left_out
from cov3d.reports import explanation_pictures, infer_page
from cov3d.results import claimed, staged
from cov3d.run_files import FACTS, MAPS, PREDICTION_PAGE, PREDICTIONS, REVIEW

if TYPE_CHECKING:
    import pandas as pd

RESULT_FILES = (
    *(PREDICTIONS, REVIEW, MANIFEST, INTAKE, LEFT_OUT, FACTS, PREDICTION_PAGE, MAPS),
    *submissions.FILES,
)
_PREVIEW, _CROP = "preview.webp", "crop.webp"
_MAP_PICTURES = {"presence": "presence.webp", "severity": "severity.webp"}
_MAP_FILES = {"presence": "presence.nii.gz", "severity": "severity.nii.gz"}


@dataclass(frozen=True)
class Submission:
    """Which submission files are written, if any: for which task, in which format."""

    task: Task
    is_wanted: bool
    line_format: LineFormat


@dataclass(frozen=True)
class PredictionResult:
    """The predictions of scans.

    Attributes:
        table: the prediction table, sorted by scan: `scan`, a probability of each category (`p_non_covid`, …),
            `presence`, `severity`.
        manifest: how each scan was cropped, and why its prediction should be reviewed.
        intake: how each scan was read, and every file or folder that was given and is not predicted.
        review: reasons why a person should review a prediction, by scan; without scans that have none.
        spread: standard deviation of the probability of COVID-19, by scan; empty with one network and no dropout
            passes.
        zones: what each lung zone adds to the log-odds of COVID-19, by scan; empty unless explained.
        failed: error messages of the scans that could not be read, by scan; empty without `skip_errors`.
        left_out: files and folders that look like scans and were not taken.
        passed_over: other files and folders that were given.
        about: what the networks are, a sentence each.
        names_written: the number of names in each submission file that was written.
        page: the page with all predictions; None if no files were written.
    """

    table: "pd.DataFrame"
    manifest: "pd.DataFrame"
    intake: "pd.DataFrame"
    review: dict[str, list[str]]
    spread: dict[str, float]
    zones: dict[str, dict[str, float]]
    failed: dict[str, str]
    left_out: tuple[LeftOut, ...]
    passed_over: tuple[LeftOut, ...]
    about: tuple[str, ...]
    names_written: dict[str, int] = field(default_factory=dict)
    page: Path | None = None

    @property
    def review_table(self) -> "pd.DataFrame":
        """A row a scan: prediction, probability of COVID-19, its spread, severity, reasons to review, lung zones."""
        scans = self.table["scan"]
        table = self.table[["scan", "presence"]].assign(
            p_covid=1.0 - self.table["p_non_covid"].astype("float64"),
            spread=scans.map(self.spread).astype("float64"),
            severity=self.table["severity"],
            review=scans.map(lambda scan: "; ".join(self.review.get(scan, []))),
        )
        for part in dict.fromkeys(name for zones in self.zones.values() for name in zones):
            column = "without_" + part.replace(" ", "_")
            table[column] = scans.map({scan: zones[part] for scan, zones in self.zones.items()})
        return table


def claim(folder: Path, share: Share, *, overwrite: bool) -> AbstractContextManager[None]:
    """Lock the folder of results, or the place of a share in it.

    Raises:
        OutputError: another command works there, or there is an earlier result and `overwrite` is not set.
    """
    if share.is_all:
        return claim_results(folder, overwrite=overwrite)
    if not overwrite and any((folder / name).exists() for name in RESULT_FILES):
        raise OutputError(f"{folder} already holds predictions: give another --output-dir, or --overwrite")
    return folder_lock(folder / ".shares" / f"{share.number}-of-{share.n_shares}", "cov3d infer", removes=True)


def claim_results(folder: Path, *, overwrite: bool) -> AbstractContextManager[None]:
    """Lock the folder of results; errors as of `claim`."""
    return claimed(folder, RESULT_FILES, overwrite=overwrite, what="predictions", command="cov3d infer")


def keep_pictures(prediction: ScanPrediction, kept: KeptPredictions) -> None:
    """Keep the pictures and maps of a prediction until the results are written.

    Raises:
        OutputError: they can't be written.
    """
    pictures: dict[str, bytes] = {}
    if prediction.preview is not None:
        pictures[_PREVIEW] = prediction.preview
    if (explanation := prediction.explanation) is not None:
        size = explanation_pictures.crop_size(prediction.record)
        pictures[_CROP] = explanation_pictures.crop_picture(explanation, size)
        for of, density in explanation.maps.items():
            pictures[_MAP_PICTURES[of]] = explanation_pictures.map_picture(explanation, density, size)
            write_map(
                kept.picture(prediction.scan, _MAP_FILES[of]), density, prediction.record, prediction.geometry, of
            )
    for name, content in pictures.items():
        with replacing(kept.picture(prediction.scan, name)) as aside:
            aside.write_bytes(content)


def write(
    made: PredictionResult, job: Job, wanted: Submission, folder: Path, kept: KeptPredictions
) -> PredictionResult:
    """Write the results; an earlier one stays until they are complete.

    Returns:
        The result, with the page and the numbers of names written.

    Raises:
        OutputError: they can't be written.
    """
    categories = job.infos[0].categories
    names: dict[str, int] = {}
    with staged(folder, RESULT_FILES) as to:
        save_predictions(made.table, to / PREDICTIONS)
        write_text(to / REVIEW, made.review_table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
        write_text(to / MANIFEST, made.manifest.to_csv(index=False, lineterminator="\n"))
        write_text(to / FACTS, json.dumps({**job.facts(), "about": list(made.about)}, indent=2) + "\n")
        save_left_out(made.left_out, to / LEFT_OUT)
        save_intake(made.intake, to)
        for scan in made.table["scan"]:
            for name in _MAP_FILES.values():
                _link(kept.picture(scan, name), to / MAPS / scan / name)
        infer_page.write_page(to / PREDICTION_PAGE, made, categories, _pictures(made, kept))
        if wanted.is_wanted:
            names = submissions.write_submission(made.table, categories, to, wanted.task, wanted.line_format)
    return replace(made, names_written=names, page=folder / PREDICTION_PAGE)


def _pictures(made: PredictionResult, kept: KeptPredictions) -> Iterator[tuple[str, str, bytes]]:
    """Scan, kind and content of every picture."""
    for scan in made.table["scan"]:
        for name in (_PREVIEW, _CROP, *_MAP_PICTURES.values()):
            file = kept.picture(scan, name)
            if file.is_file():
                yield scan, name.removesuffix(".webp"), file.read_bytes()


def _link(file: Path, to: Path) -> None:
    """A file under a second name; a copy where the file system has no links. Nothing if the file does not exist."""
    if not file.is_file():
        return
    make_folder(to.parent)
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)
