"""Paths and labels of the same synthetic scans in the layouts of other datasets.

STOIC2021 and MosMedData have no partitions and label every scan, so no label is hidden in these layouts.
"""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK
from numpy.typing import NDArray

from cov3d.datasets import mosmed, stoic
from cov3d.datasets.names import PhantomLayout
from cov3d.files import write_text
from cov3d.labels import NON_COVID, STOIC_SEVERITIES
from cov3d.phantom.plan import PARTITIONS, Planned
from cov3d.volume import WINDOW_HU

_STOIC_LABELS = {
    NON_COVID: NON_COVID,
    **dict.fromkeys(("mild", "moderate"), STOIC_SEVERITIES[0]),
    **dict.fromkeys(("severe", "critical"), STOIC_SEVERITIES[1]),
}
_MOSMED_FOLDERS = {category: folder for folder, category in mosmed.GRADES.items()}


def placed(planned: Planned, layout: PhantomLayout) -> Planned:
    """Convert a scan of COV19-CT-DB's layout to `layout`. Its number there does not depend on other scans."""
    number = 1 + len(PARTITIONS) * planned.number + PARTITIONS.index(planned.partition)
    if layout == PhantomLayout.STOIC:
        return replace(planned, path=f"{stoic.SCANS.as_posix()}/{number}.mha", label=_STOIC_LABELS[planned.category])
    if layout == PhantomLayout.MOSMED:
        folder = _MOSMED_FOLDERS[planned.category]
        return replace(planned, path=f"{mosmed.STUDIES}/{folder}/study_{number:04d}.nii.gz", label=planned.category)
    return planned


def write_reference(root: Path, planned: Sequence[Planned]) -> None:
    """STOIC2021's table of patients."""
    rows = sorted(
        (int(Path(one.path).stem), int(one.label != NON_COVID), int(one.label == STOIC_SEVERITIES[1]))
        for one in planned
    )
    buffer = StringIO()
    pd.DataFrame(rows, columns=list(stoic.COLUMNS)).to_csv(buffer, index=False, lineterminator="\n")
    write_text(root / stoic.REFERENCE, buffer.getvalue())


def to_hounsfield(voxels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Convert grey levels to the nearest integer Hounsfield units, which a reader converts to the same grey levels."""
    low, high = WINDOW_HU
    levels = np.rint(low + np.arange(256) * (high - low) / 255).astype(np.int16)
    return levels[voxels]


def as_image(voxels: NDArray[np.generic], spacing: tuple[float, float, float]) -> SimpleITK.Image:
    """Canonical voxels (slice 0 at the head) as scanners store them, from the feet, with spacing and orientation."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels[::-1]))
    image.SetSpacing(spacing[::-1])
    # The axes of the file go to the patient's left, back and head, which is what no turning means.
    image.SetDirection(np.eye(3).ravel().tolist())
    return image
