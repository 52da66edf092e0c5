"""The same synthetic scans in the layouts of other datasets: where each lies and what label it has there.

STOIC2021 and MosMedData have no partitions and label every scan, so nothing of the truth is hidden there.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
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
    """A scan of COV19-CT-DB's layout as it is in `layout`; its number there is its own, whatever others there are."""
    number = 1 + len(PARTITIONS) * planned.number + PARTITIONS.index(planned.partition)
    if layout == PhantomLayout.STOIC:
        return replace(planned, path=f"{stoic.SCANS.as_posix()}/{number}.mha", label=_STOIC_LABELS[planned.grade])
    if layout == PhantomLayout.MOSMED:
        folder = _MOSMED_FOLDERS[planned.grade]
        return replace(planned, path=f"{mosmed.STUDIES}/{folder}/study_{number:04d}.nii.gz", label=planned.grade)
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
    """Grey levels as the nearest whole Hounsfield units, which a reader turns into the same grey levels again."""
    low, high = WINDOW_HU
    levels = np.rint(low + np.arange(256) * (high - low) / 255).astype(np.int16)
    return levels[voxels]


def nifti(
    voxels: NDArray[np.generic], spacing: tuple[float, float, float], comment: str, *, from_feet: bool = True
) -> bytes:
    """The content of a `.nii.gz` file of canonical voxels.

    The axes of the file go to the patient's left and back, and to the head; those of NIfTI's world right, front, head.

    Args:
        voxels: of shape (depth, height, width), slice 0 at the head, row 0 anterior, column 0 the patient's right.
        spacing: along these axes, mm.
        comment: stands in the header.
        from_feet: store the slices as scanners do; else in their order, and the third axis goes to the feet.
    """
    depth, height, width = spacing
    affine = np.diag([-width, -height, depth if from_feet else -depth, 1.0])
    image = nibabel.Nifti1Image((voxels[::-1] if from_feet else voxels).transpose(2, 1, 0), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = comment.encode()
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def metaimage(voxels: NDArray[np.generic], spacing: tuple[float, float, float], comment: str) -> bytes:
    """The content of a `.mha` file of canonical voxels, as scanners store them; see `nifti`.

    The axes of the file go to the patient's left, back and head, which is what no turning means.
    """
    packed = zlib.compress(voxels[::-1].astype(voxels.dtype.newbyteorder("<")).tobytes())
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "Comment": comment,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": len(packed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(map(repr, map(float, spacing[::-1]))),
        "DimSize": " ".join(map(str, voxels.shape[::-1])),
        "ElementType": {"int16": "MET_SHORT", "uint8": "MET_UCHAR"}[voxels.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{key} = {value}\n" for key, value in header.items()).encode() + packed
