"""A synthetic scan as a DICOM series: a file a slice, in Hounsfield units, with positions from the head down."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_NO_DATE, _NO_TIME = "20000101", "000000"
"""Fixed, so that the same scan has the same bytes whenever it is written."""


def write_series(folder: Path, hounsfield: NDArray[np.int16], spacing: tuple[float, float, float], note: str) -> None:
    """Write `IM0001.dcm, IM0002.dcm, …` into a folder that is there.

    Args:
        folder: its name is the patient's ID in the files.
        hounsfield: canonical voxels: slice 0 at the head, row 0 anterior, column 0 the patient's right.
        spacing: of slices, rows and columns, in mm.
        note: a comment in every file.
    """
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, pixels in enumerate(hounsfield):
        image = SimpleITK.GetImageFromArray(pixels[None])
        image.SetSpacing(spacing[::-1])
        for tag, value in _tags(folder.name, index, spacing, note).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"IM{index + 1:04d}.dcm"))
        writer.Execute(image)


def _tags(patient: str, index: int, spacing: tuple[float, float, float], note: str) -> dict[str, str]:
    return {
        "0008|0016": _CT_IMAGE,
        "0008|0018": _uid(patient, index),
        "0008|0060": "CT",
        **dict.fromkeys(("0008|0012", "0008|0020"), _NO_DATE),
        **dict.fromkeys(("0008|0013", "0008|0030"), _NO_TIME),
        "0010|0010": "Phantom",
        "0010|0020": patient,
        "0018|0050": f"{spacing[0]:g}",
        "0020|000d": _uid(patient, "study"),
        "0020|000e": _uid(patient, "series"),
        "0020|0052": _uid(patient, "frame of reference"),
        "0020|0011": "1",
        "0020|0013": str(index + 1),
        # The axes of the pictures go to the patient's left and back; slice 0 is the highest.
        "0020|0032": f"0\\0\\{-index * spacing[0]:g}",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0020|4000": note,
        "0028|1054": "HU",
    }


def _uid(*parts: object) -> str:
    return f"2.25.{int.from_bytes(sha256(repr(parts).encode()).digest()[:15], 'big')}"
