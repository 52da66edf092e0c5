"""A synthetic scan as a DICOM series: a file a slice, in Hounsfield units, with positions from the head down.

pydicom writes it: SimpleITK's writer changes the locale of the process.
"""

from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_DATE, _TIME = "20000101", "000000"
"""Fixed, so that the same scan has the same bytes whenever it is written."""


def write_series(folder: Path, hounsfield: NDArray[np.int16], spacing: tuple[float, float, float], note: str) -> None:
    """Write `IM0001.dcm, IM0002.dcm, …` into a folder that is there.

    Args:
        folder: its name is the patient's ID in the files.
        hounsfield: canonical voxels: slice 0 at the head, row 0 anterior, column 0 the patient's right.
        spacing: of slices, rows and columns, in mm.
        note: a comment in every file.
    """
    for index, pixels in enumerate(hounsfield):
        dataset = _header(folder.name, index, spacing, note)
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.astype("<i2").tobytes()
        dataset.save_as(folder / f"IM{index + 1:04d}.dcm", enforce_file_format=True)


def _header(patient: str, index: int, spacing: tuple[float, float, float], note: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, _uid(patient, index)
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", "Phantom", patient
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(patient, "study"), _uid(patient, "series")
    dataset.FrameOfReferenceUID = _uid(patient, "frame of reference")
    dataset.SeriesNumber, dataset.InstanceNumber = 1, index + 1
    dataset.ImageComments = note
    # The axes of the pictures go to the patient's left and back; slice 0 is the highest.
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, round(-index * spacing[0], 4)]
    dataset.SliceThickness = round(spacing[0], 4)
    dataset.PixelSpacing = [round(step, 6) for step in spacing[1:]]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
    return dataset


def _uid(*parts: object) -> str:
    return f"2.25.{int.from_bytes(sha256(repr(parts).encode()).digest()[:15], 'big')}"
