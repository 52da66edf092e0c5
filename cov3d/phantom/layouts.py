"""Paths and labels of the same synthetic scans in the layouts of other datasets.

STOIC2021, MosMedData, CC-CCII and COVID-CT-MD have no partitions and label every scan, so nothing of the truth is
hidden there. In CC-CCII's layout every third patient has two scans, which show two persons all the same.
"""

import gzip
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.datasets import ccccii, centre_file, covidctmd, mosmed, pharos, stoic
from cov3d.datasets.names import PhantomLayout
from cov3d.files import write_text
from cov3d.labels import NON_COVID, STOIC_SEVERITIES, UNKNOWN_SEVERITY
from cov3d.phantom.plan import PARTITIONS, Planned
from cov3d.volume import WINDOW_HU

_STOIC_LABELS = {
    NON_COVID: NON_COVID,
    **dict.fromkeys(("mild", "moderate"), STOIC_SEVERITIES[0]),
    **dict.fromkeys(("severe", "critical"), STOIC_SEVERITIES[1]),
}
_MOSMED_FOLDERS = {category: folder for folder, category in mosmed.CATEGORY_OF_FOLDER.items()}


DATASETS = {
    PhantomLayout.COV19CTDB: "COV19-CT-DB of 2023",
    PhantomLayout.STOIC: stoic.NAME,
    PhantomLayout.MOSMED: mosmed.NAME,
    PhantomLayout.PHAROS: pharos.NAME,
    PhantomLayout.CC_CCII: ccccii.NAME,
    PhantomLayout.COVID_CT_MD: covidctmd.NAME,
}
FIRST_SLICE = {PhantomLayout.COV19CTDB: 1, PhantomLayout.PHAROS: 0, PhantomLayout.CC_CCII: 0}
"""The number of the first slice, by the layouts of slices as JPEG."""
_CENTRES = 4


def placed(planned: Planned, layout: PhantomLayout) -> Planned:
    """Convert a scan of COV19-CT-DB's layout to `layout`. Its number there does not depend on other scans."""
    number = 1 + len(PARTITIONS) * planned.number + PARTITIONS.index(planned.partition)
    presence = NON_COVID if planned.category == NON_COVID else UNKNOWN_SEVERITY
    if layout == PhantomLayout.STOIC:
        return replace(planned, path=f"{stoic.SCANS.as_posix()}/{number}.mha", label=_STOIC_LABELS[planned.category])
    if layout == PhantomLayout.MOSMED:
        folder = _MOSMED_FOLDERS[planned.category]
        return replace(planned, path=f"{mosmed.STUDIES}/{folder}/study_{number:04d}.nii.gz", label=planned.category)
    if layout == PhantomLayout.PHAROS:
        return replace(planned, path=_pharos_path(planned, presence, number), label=presence)
    if layout == PhantomLayout.CC_CCII:
        return replace(planned, path=_ccccii_path(planned, presence, number), label=presence)
    if layout == PhantomLayout.COVID_CT_MD:
        folder, prefix = ("COVID-19 Cases", "P") if presence != NON_COVID else _OF_NO_COVID[planned.place % 2]
        return replace(planned, path=f"{folder}/{prefix}{number:03d}", label=presence)
    return planned


_OF_NO_COVID = (("Cap Cases", "cap"), ("Normal Cases", "normal"))


def _pharos_path(planned: Planned, presence: str, number: int) -> str:
    place = planned.place
    if planned.partition == "train":
        return f"{presence}{1 + place % (3 if presence == NON_COVID else 2)}/ct_scan_{place}"
    if planned.partition == "validation":
        return f"Validation/val/{presence}/ct_scan_{place}"
    return f"1st_challenge_test_set/test/ct_scan_{number}"


def _ccccii_path(planned: Planned, presence: str, number: int) -> str:
    place = planned.place
    group = 3 * (place // 4) + (0, 0, 1, 2)[place % 4]
    patient = 1 + 2 * (len(PARTITIONS) * group + PARTITIONS.index(planned.partition)) + (presence == NON_COVID)
    folder = ("CP", "Normal")[group % 2] if presence == NON_COVID else "NCP"
    return f"{folder}/{patient}/{number}"


def slice_name(layout: PhantomLayout, index: int) -> str:
    """The file of a slice in a layout of slices as JPEG; `index` 0 is the first."""
    number = FIRST_SLICE[layout] + index
    return f"{number:04d}.jpg" if layout == PhantomLayout.CC_CCII else f"{number}.jpg"


def write_centres(root: Path, planned: Sequence[Planned]) -> None:
    """PHAROS's tables of centres; a scan's centre says nothing of what it shows."""
    rows = defaultdict(list)
    for one in planned:
        if one.partition in ("train", "validation"):
            rows[one.partition, one.label].append((one.path.rpartition("/")[2], one.place % _CENTRES))
    for (partition, label), some in rows.items():
        text = pd.DataFrame(some, columns=list(centre_file.COLUMNS)).to_csv(index=False, lineterminator="\n")
        write_text(root / f"{partition}_{label.replace('-', '_')}.csv", text)


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
