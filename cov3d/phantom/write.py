"""Write a synthetic dataset in the layout of COV19-CT-DB of 2023 or of another dataset (`layouts`)."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cov3d.datasets.cov19ctdb import SEVERITY_FILES
from cov3d.datasets.found import TEST, TRAIN, stem
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.datasets.synthetic import FACTS
from cov3d.errors import DatasetError, OutputError
from cov3d.files import remove, replacing, write_text
from cov3d.labels import NON_COVID, SEVERITIES
from cov3d.phantom.layouts import (
    DATASETS,
    FIRST_SLICE,
    metaimage,
    nifti,
    placed,
    slice_name,
    to_hounsfield,
    write_centres,
    write_reference,
)
from cov3d.phantom.plan import Planned, plan
from cov3d.phantom.scan import PhantomScan, make_scan
from cov3d.processes import Leash, Pool

VERSION = 2
"""Changes whenever the same seed no longer gives the same voxels."""

NOTICE = (
    "Synthetic, made by cov3d phantom, for trials and tests only: this is not CT of any person, "
    "and results on it do not apply to patients."
)
QUALITY = 90
_COMMENT = "synthetic: made by cov3d phantom, not CT of any person"
ASIDE = ".writing"
_FACTS, _TRUTH = FACTS, "phantom_truth.csv"
"""The files that are written first and last: the dataset's settings, and the ground truth of each scan."""
_COLUMNS = ["scan", "partition", "label", "severity", "slices", "involvement", "lesion_side"]


@dataclass(frozen=True)
class _Task:
    root: Path
    planned: Planned
    seed: int
    resolution: int
    masks: bool
    layout: PhantomLayout
    lesions: LesionSides


def write_phantom(
    root: Path,
    *,
    n_scans: int,
    seed: int,
    resolution: int = 512,
    masks: bool = False,
    layout: PhantomLayout = PhantomLayout.COV19CTDB,
    lesions: LesionSides = LesionSides.BOTH,
    jobs: int = 1,
    on_scan: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Write a synthetic dataset to `root`, a folder that is missing or empty.

    The same seed gives the same bytes for any number of `jobs`, and the same persons in every layout.

    Args:
        root: of the dataset.
        n_scans: number of scans.
        seed: random seed, 0 or more.
        resolution: rows and columns of a slice.
        masks: also write the label maps of lungs and lesions to `masks/<scan>.nii.gz`, on the grid of the scans.
        layout: those of COV19-CT-DB, PHAROS and CC-CCII have JPEG slices, COVID-CT-MD's has DICOM slices, the others
            one file for each scan; DICOM slices and files are in Hounsfield units and have a spacing.
        lesions: the lungs of COVID scans that have lesions. If it is one lung, severe and critical lesions fill it
            almost completely, which is less than their usual share of both lungs.
        jobs: number of processes.
        on_scan: called with each scan's path below the root, in order, when it is written.

    Returns:
        One row for each scan: `scan`, `partition`, `label` (as in the dataset; for test scans the truth), `severity`
        (the true severity, empty for non-covid), `slices`, `involvement` (share of the lungs), `lesion_side` (the
        lungs with lesions: both, left or right; empty for none). The same table is written last, to
        `phantom_truth.csv`.

    Raises:
        DatasetError: there are too few scans, or the resolution or seed is not valid.
        OutputError: `root` is not empty, or can't be written.
    """
    if seed < 0:
        raise DatasetError(f"the seed of a phantom dataset must be 0 or more, not {seed}.")
    planned = [placed(one, layout) for one in plan(n_scans, seed)]
    if not 32 <= resolution <= 1024:
        raise DatasetError(f"a phantom's resolution must be from 32 to 1024 pixels, not {resolution}.")
    settings: dict[str, object] = {"seed": seed, "scans": n_scans, "resolution": resolution, "masks": masks}
    if lesions != LesionSides.BOTH:
        settings["lesions"] = lesions
    _claim(root, layout, settings)
    tasks = [_Task(root, one, seed, resolution, masks, layout, lesions) for one in planned]
    rows = []
    for task, row in zip(tasks, _run(tasks, jobs), strict=True):
        rows.append(row)
        if on_scan is not None:
            on_scan(task.planned.path)
    _write_labels(root, layout, planned)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    write_text(root / _TRUTH, table.to_csv(index=False, lineterminator="\n"))
    shutil.rmtree(root / ASIDE, ignore_errors=True)
    return table


def _claim(root: Path, layout: PhantomLayout, settings: dict[str, object]) -> None:
    """Start a dataset in an empty folder, or continue one with the same settings. Hidden files are ignored."""
    facts: dict[str, object] = {"notice": NOTICE, "version": VERSION, **settings}
    if layout != PhantomLayout.COV19CTDB:  # older versions wrote no layout
        facts["layout"] = layout
    try:
        if not _is_unfinished(root, facts):
            if root.exists() and (not root.is_dir() or any(path.name[:1] != "." for path in root.iterdir())):
                raise OutputError(f"{root} is not an empty folder: give another one, or delete it first.")
            remove(root / ASIDE)
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {root} can't be written ({error.strerror}): give another one.") from error
    write_text(root / _FACTS, json.dumps(facts, indent=2) + "\n")
    write_text(
        root / "README.txt",
        f"{NOTICE}\n\nThe folders follow the layout of {DATASETS[layout]}. "
        "phantom_truth.csv has the ground truth of each scan; phantom.json has the settings.\n",
    )


def _is_unfinished(root: Path, facts: dict[str, object]) -> bool:
    """Whether the folder holds an unfinished dataset with these settings."""
    try:
        return not (root / _TRUTH).exists() and json.loads((root / _FACTS).read_text(encoding="utf-8")) == facts
    except (OSError, ValueError, RecursionError):
        return False


def _run(tasks: list[_Task], jobs: int) -> Iterator[dict[str, object]]:
    if jobs <= 1:
        yield from map(_write_scan, tasks)
        return
    with Leash() as leash, Pool(min(jobs, len(tasks)), leash, _no_set_up) as pool:
        futures = [pool.submit(_write_scan, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        except Exception:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        except BaseException:
            leash.cut()
            raise


def _no_set_up() -> None:
    pass


def _write_scan(task: _Task) -> dict[str, object]:
    """Make and write one scan, and return its row. A scan written by an interrupted command is kept."""
    described = task.root / ASIDE / "described" / f"{sha256(task.planned.path.encode()).hexdigest()}.json"
    if (task.root / task.planned.path).exists():
        with suppress(OSError, ValueError, RecursionError):
            row = dict(json.loads(described.read_text(encoding="utf-8")))
            if list(row) == _COLUMNS:
                return row
    row = _make_scan(task)
    write_text(described, json.dumps(row))
    return row


def _make_scan(task: _Task) -> dict[str, object]:
    planned = task.planned
    scan = make_scan(task.seed, planned.partition, planned.number, resolution=task.resolution, lesions=task.lesions)
    try:
        slices = task.layout in FIRST_SLICE
        if slices:
            _write_slices(task.root, planned.path, scan.voxels, task.layout)
        elif task.layout == PhantomLayout.COVID_CT_MD:
            _write_dicom(task.root, planned.path, scan)
        else:
            encode = metaimage if planned.path.endswith(".mha") else nifti
            _write_file(task.root, planned.path, encode(to_hounsfield(scan.voxels), scan.spacing, _COMMENT))
        if task.masks:
            folder, _, name = planned.path.rpartition("/")
            mask = nifti(scan.mask, scan.spacing, _COMMENT, from_feet=not slices)
            _write_file(task.root, f"masks/{folder}/{stem(name)}.nii.gz", mask)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{planned.path} can't be written to {task.root}: {reason}.") from error
    return {
        "scan": planned.path,
        "partition": _partition(task),
        "label": planned.label,
        "severity": "" if scan.category == NON_COVID else scan.category,
        "slices": len(scan.voxels),
        "involvement": round(scan.involvement, 4),
        "lesion_side": scan.lesion_side,
    }


def _write_slices(root: Path, path: str, voxels: NDArray[np.uint8], layout: PhantomLayout) -> None:
    """Write the slices as JPEG. The folder is written elsewhere and renamed, so it is never incomplete."""
    aside, final = root / ASIDE / path, root / path
    remove(aside)
    aside.mkdir(parents=True)
    for index, pixels in enumerate(voxels):
        Image.fromarray(pixels).save(aside / slice_name(layout, index), quality=QUALITY, comment=_COMMENT.encode())
    final.parent.mkdir(parents=True, exist_ok=True)
    remove(final)
    aside.rename(final)


def _write_dicom(root: Path, path: str, scan: PhantomScan) -> None:
    """The slices as DICOM; the folder is written aside and renamed, so it is there whole or not at all."""
    from cov3d.phantom.dicom import write_series

    aside, final = root / ASIDE / path, root / path
    remove(aside)
    aside.mkdir(parents=True)
    write_series(aside, to_hounsfield(scan.voxels), scan.spacing, _COMMENT)
    final.parent.mkdir(parents=True, exist_ok=True)
    remove(final)
    aside.rename(final)


def _partition(task: _Task) -> str:
    """The scan's partition in the dataset; in datasets without partitions, all scans are for training."""
    if task.layout not in (PhantomLayout.COV19CTDB, PhantomLayout.PHAROS):
        return TRAIN
    return task.planned.partition if task.planned.partition in SEVERITY_FILES else TEST


def _write_file(root: Path, path: str, content: bytes) -> None:
    """One file; written aside and renamed, so it is there whole or not at all."""
    aside, final = root / ASIDE / path, root / path
    aside.parent.mkdir(parents=True, exist_ok=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(content)
    aside.rename(final)


def _write_labels(root: Path, layout: PhantomLayout, planned: list[Planned]) -> None:
    """Write the files with labels. Other labels are in the names of folders."""
    if layout == PhantomLayout.STOIC:
        write_reference(root, planned)
    if layout == PhantomLayout.PHAROS:
        write_centres(root, planned)
    if layout == PhantomLayout.COV19CTDB:
        for partition, name in SEVERITY_FILES.items():
            _write_severity(root / name, [one for one in planned if one.partition == partition])


def _write_severity(path: Path, planned: list[Planned]) -> None:
    """Write name and category of the scans with a severity. One row is repeated, as in the real files."""
    rows = [
        {"Name": one.path.rsplit("/", 1)[-1], "Category": SEVERITIES.index(one.label) + 1}
        for one in planned
        if one.label in SEVERITIES
    ]
    rows += rows[:1]
    workbook = BytesIO()
    pd.DataFrame(rows, columns=["Name", "Category"]).to_excel(workbook, index=False)
    _write_timeless(path, workbook)


def _write_timeless(path: Path, workbook: BytesIO) -> None:
    """Write the workbook without its creation times, so that the same seed gives the same bytes."""
    timeless = BytesIO()
    with ZipFile(workbook) as source, ZipFile(timeless, "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2000-01-01T00:00:00Z", source.read(name))
            target.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    with replacing(path) as aside:
        aside.write_bytes(timeless.getvalue())
