"""Makes small DICOM series for the tests: 8 slices of 32 x 32, any transfer syntax, any tag changed."""

import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

UID = "1.2.840.10008.1.2"
STEP, PIXEL = 2.5, (0.75, 0.5)
STUDY, SERIES = "1.2.3.4", "1.2.3.4.5"
Change = Callable[[int, Dataset], None]

SECRETS = {
    "PatientName": "Geheim^Gerda",
    "PatientID": "PID-777-SECRET",
    "PatientBirthDate": "19610203",
    "OtherPatientIDs": "OTHER-888",
    "PatientAddress": "Secret Street 5",
    "PatientTelephoneNumbers": "0555-SECRET",
    "InstitutionName": "Secret Hospital",
    "ReferringPhysicianName": "Arzt^Secret",
    "AccessionNumber": "ACC-999",
    "StudyID": "SID-111",
    "StudyDate": "20200304",
    "StudyDescription": "Thorax Geheim",
    "SeriesDescription": "Lunge Geheim",
    "ProtocolName": "Protokoll Geheim",
    "ImageComments": "Frau Geheim hustet",
    "PatientComments": "Geheim comment",
    "StationName": "GEHEIM-CT1",
    "DeviceSerialNumber": "SER-4711",
    "OperatorsName": "Operator^Secret",
    "ContrastBolusAgent": "Geheim 350",
}


def hounsfield(depth: int = 8, seed: int = 0) -> NDArray[np.int16]:
    """Whole values within the window, each different from its neighbours."""
    return np.random.default_rng(seed).integers(-1000, 300, (depth, 32, 32)).astype(np.int16)


def grey(values: NDArray) -> NDArray[np.uint8]:
    """The contract of a Volume, worked out anew: -1150 HU is 0, 350 HU is 255."""
    return np.clip(np.rint((values.astype(np.float64) + 1150) / 1500 * 255), 0, 255).astype(np.uint8)


def header(index: int, rows: int = 32, columns: int = 32) -> Dataset:
    """Slice `index` of the series; slice 0 is nearest to the feet."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"{SERIES}.{index + 1}"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.Modality, made.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.InstanceNumber = index + 1
    made.ImagePositionPatient = [-10.0, -20.0, 100.0 + STEP * index]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.SliceLocation = 100.0 + STEP * index
    made.PixelSpacing, made.SliceThickness = list(PIXEL), STEP
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.ConvolutionKernel = "B40f"
    return made


ENCODERS: dict[str, Callable[[NDArray], bytes]] = {
    f"{UID}.4.50": lambda a: imagecodecs.jpeg8_encode(a, level=100),
    f"{UID}.4.51": lambda a: imagecodecs.jpeg8_encode(a, level=100, bitspersample=12),
    f"{UID}.4.57": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12),
    f"{UID}.4.70": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12),
    f"{UID}.4.80": lambda a: imagecodecs.jpegls_encode(a),
    f"{UID}.4.81": lambda a: imagecodecs.jpegls_encode(a, level=1),
    f"{UID}.4.90": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", level=0),
    f"{UID}.4.91": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", level=90),
    f"{UID}.4.201": lambda a: imagecodecs.htj2k_encode(a),
    f"{UID}.4.203": lambda a: imagecodecs.jpegxl_encode(a, lossless=True),
}
"""What compresses a slice of unsigned values of 12 bits, by transfer syntax."""


def save(
    file: Path, made: Dataset, stored: NDArray, syntax: str = ExplicitVRLittleEndian, preamble: bool = True
) -> Path:
    """Write a slice, compressed by its transfer syntax."""
    file.parent.mkdir(parents=True, exist_ok=True)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != f"{UID}.2"
    if syntax in ENCODERS:
        made.PixelData = encapsulate([ENCODERS[syntax](stored)])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    else:
        made.PixelData = stored.astype(stored.dtype.newbyteorder("<" if little else ">")).tobytes()
        made["PixelData"].VR = "OB" if made.BitsAllocated == 8 else "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if preamble:
            made.file_meta = meta
            pydicom.dcmwrite(file, made, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
        else:
            pydicom.dcmwrite(file, made, implicit_vr=implicit, little_endian=little)
    return file


def series(
    folder: Path,
    values: NDArray | None = None,
    change: Change = lambda index, made: None,
    *,
    syntax: str = ExplicitVRLittleEndian,
    names: Callable[[int], str] = lambda index: f"IM{index + 1:04d}.dcm",
    preamble: bool = True,
    indices: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Write a series of Hounsfield units, slice 0 nearest to the feet; the canonical grey levels of it."""
    values = hounsfield() if values is None else values
    for index in range(len(values)) if indices is None else indices:
        made = header(index, *values.shape[1:])
        with warnings.catch_warnings():  # of values that break the rules
            warnings.simplefilter("ignore")
            change(index, made)
        slope, intercept = float(made.RescaleSlope), float(made.RescaleIntercept)
        stored = np.rint((values[index] - intercept) / slope)
        kind = f"{'i' if made.PixelRepresentation else 'u'}{made.BitsAllocated // 8}"
        save(folder / names(index), made, stored.astype(kind), syntax, preamble)
    return grey(values)[::-1]


def truncate(file: Path, by: int) -> None:
    file.write_bytes(file.read_bytes()[:-by])


def enhanced(file: Path, values: NDArray, syntax: str = ExplicitVRLittleEndian, **changes: Any) -> NDArray[np.uint8]:
    """Write a multi-frame CT; the canonical grey levels of it."""
    made = header(0)
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    made.NumberOfFrames = len(values)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        del made[name]
    shared = Dataset()
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing, shared.PixelMeasuresSequence[0].SliceThickness = list(PIXEL), STEP
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 1
    shared.PixelValueTransformationSequence[0].RescaleIntercept = -1024
    made.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for index in range(len(values)):
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [-10.0, -20.0, 100.0 + STEP * index]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    for name, value in changes.items():
        setattr(made, name, value)
    stored = (values + 1024).astype("<u2")
    if syntax in ENCODERS:
        made.PixelData = encapsulate([ENCODERS[syntax](plane) for plane in stored])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
        meta.TransferSyntaxUID = syntax
        made.file_meta = meta
        file.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(file, made, enforce_file_format=True)
    else:
        save(file, made, stored, syntax)
    return grey(values)[::-1]


def other_image(file: Path, **changes: Any) -> Path:
    """Write an image that is no slice of the series."""
    made = header(0)
    made.SOPInstanceUID = generate_uid()
    for name, value in changes.items():
        setattr(made, name, value)
    rgb = made.SamplesPerPixel == 3
    if rgb:
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PlanarConfiguration = 8, 8, 7, 0
    pixels = np.zeros((32, 32, 3), "u1") if rgb else np.full((made.Rows, made.Columns), 1000, "<u2")
    return save(file, made, pixels)


def rle(plane: NDArray[np.uint16]) -> bytes:
    """RLE Lossless of 16 bits, literal runs only: the plane of the high bytes, then that of the low ones."""
    segments = []
    for byte in (plane >> 8, plane & 255):
        data = byte.astype(np.uint8).tobytes()
        runs = [data[at : at + 128] for at in range(0, len(data), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64, 64 + len(segments[0])]
    return struct.pack("<16I", 2, *offsets, *[0] * 13) + b"".join(segments)


ENCODERS[f"{UID}.5"] = rle
