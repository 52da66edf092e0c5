"""Reads the header of a DICOM file: the elements for grouping, geometry and decoding, and none that names a patient.

pydicom parses the elements. The place of the pixels in the file is kept, so that decoding need not read the header
again. UIDs are kept for grouping and never leave the reader.
"""

import hashlib
import io
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cov3d.readers.dicom_slice import Pixels, Slice
from cov3d.readers.dicom_values import directions, number, positive, strings, tag_of, text, value_of, vector, whole

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE, _GROUP_LENGTH = 132, 12
_PER_FRAME, _SHARED = 0x52009230, 0x52009229
PHASES = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase"),
    *("AcquisitionNumber", "FrameAcquisitionNumber"),
    *("TriggerTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
)
"""Elements that may distinguish slices at one position, the most certain first."""
_TAGS = (
    "PatientID",  # hashed at once
    *("SOPClassUID", "Modality", "ImageType", "StudyInstanceUID", "SeriesInstanceUID"),
    *("ConvolutionKernel", "SliceThickness", "InstanceNumber", "SliceLocation", *PHASES),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
)
_MODALITIES = ("MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "SC", "SEG", "OT", "RTSTRUCT", "RTDOSE", "RTPLAN")
_OTHER_UNITS = ("OD", "Z_EFF", "ED", "EDW", "MGML", "PCT")
"""Rescale types of spectral and density maps. Other words, and none, are taken as Hounsfield units."""
_MOST_KEPT = 200_000

_kept: OrderedDict[tuple[str, int, int], tuple[Slice, ...]] = OrderedDict()


def read_slices(file: Path) -> tuple[Slice, ...]:
    """The slices of a file, one for each frame. A file without a CT slice gives one slice with `why_not`.

    Each header is read once. Never raises: a file that can't be read has `why_not` too.
    """
    try:
        stat = file.stat()
    except OSError:
        return (Slice(file, 0, None, why_not="gone"),)
    key = (str(file), stat.st_size, stat.st_mtime_ns)
    found = _kept.get(key)
    if found is None:
        found = _read(file)
        _kept[key] = found
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return found


def _read(file: Path) -> tuple[Slice, ...]:
    import pydicom

    # Values that break the rules of DICOM are common. pydicom's warnings would print them.
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings(), file.open("rb") as stream:
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(
                stream, stop_before_pixels=True, specific_tags=list(map(tag_of, _TAGS)), force=True
            )
            return tuple(_slices(file, header, stream))
    except Exception:  # noqa: BLE001 (pydicom raises anything at all on damage)
        return (Slice(file, 0, None, why_not="unreadable"),)
    finally:
        pydicom.config.settings.reading_validation_mode = before


def _slices(file: Path, header: Any, stream: io.BufferedReader) -> Iterator[Slice]:
    empty = Slice(file, 0, None, study=_study(header), series=text(header, "SeriesInstanceUID"))
    if not any(value_of(header, name) for name in ("SOPClassUID", "Rows", "Modality")):
        yield replace(empty, why_not="unreadable")
        return
    if why_not := _why_not(header):
        yield replace(empty, why_not=why_not)
        return
    follows = stream.read(1)
    stream.seek(-len(follows), io.SEEK_CUR)
    try:
        pixels = _pixels(header, stream)
    except (TypeError, ValueError, AttributeError):
        yield replace(empty, why_not="unreadable")
        return
    if not (follows or pixels.deflated_from):
        yield replace(empty, why_not="header without pixels")
        return
    plain = _from_groups(replace(empty, pixels=pixels, number=whole(header, "InstanceNumber")), [header])
    per_frame = header.get(_PER_FRAME)
    if per_frame is None or not per_frame.value:
        if pixels.frames > 1:
            plain = replace(plain, why_not="multi-frame without positions")
        yield plain
        return
    shared = header.get(_SHARED)
    shared_groups = list(_groups(shared.value[0])) if shared is not None and shared.value else []
    for frame, groups in enumerate(per_frame.value):
        yield _from_groups(replace(plain, frame=frame, number=frame), [*_groups(groups), *shared_groups, header])


def _study(header: Any) -> str:
    """A hash that distinguishes exams; empty where the study has no UID.

    The patient's ID is part of it, because some anonymisers give every study the same UID.
    """
    study = text(header, "StudyInstanceUID")
    return hashlib.sha256(f"{study}/{text(header, 'PatientID')}".encode()).hexdigest() if study else ""


def _groups(item: Any) -> Iterator[Any]:
    """The items of a frame's functional groups, each of which holds a few elements."""
    for element in item:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _from_groups(plain: Slice, groups: list[Any]) -> Slice:
    """Fill in the values of a header, or of the functional groups of a frame; the first group with a value counts."""

    def first(*names: str) -> Any:
        for group in groups:
            for name in names:
                value = value_of(group, name)
                if value is not None and value != "":
                    return value
        return None

    kinds = strings(first("FrameType", "ImageType"))
    why_not = plain.why_not
    if any("LOCALIZER" in kind.upper() for kind in kinds):
        why_not = "localizer"
    elif str(first("RescaleType") or "").strip().upper() in _OTHER_UNITS:
        why_not = "map in other units"
    slope = number(first("RescaleSlope"), 1.0)
    padding = [number(first(name), np.nan) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [value for value in padding if np.isfinite(value)] if np.isfinite(padding[0]) else []
    location = number(first("SliceLocation"), np.nan)
    return replace(
        plain,
        kernel=" ".join(strings(first("ConvolutionKernel"))).strip(),
        image_type=tuple(kind.upper() for kind in kinds),
        why_not=why_not,
        position=vector(first("ImagePositionPatient"), 3),
        directions=directions(vector(first("ImageOrientationPatient"), 6)),
        spacing=positive(vector(first("PixelSpacing"), 2)),
        thickness=number(first("SliceThickness"), 0.0),
        between=abs(number(first("SpacingBetweenSlices"), 0.0)),
        location=location if np.isfinite(location) else None,
        slope=slope if slope else 1.0,
        intercept=number(first("RescaleIntercept"), 0.0),
        padding=(min(known), max(known)) if known else (),
        phase=tuple(str(first(name) or "") for name in PHASES),
    )


def _why_not(header: Any) -> str:
    """Why a file is not a CT slice; empty for a CT slice."""
    modality = text(header, "Modality").upper()
    sop_class = text(header, "SOPClassUID")
    if sop_class.startswith(("1.2.840.10008.5.1.4.1.1.88", "1.2.840.10008.5.1.4.1.1.104")) or modality == "SR":
        return "report"
    if sop_class.startswith("1.2.840.10008.1.3.10"):
        return "index"
    if sop_class.startswith("1.2.840.10008.5.1.4.1.1.7") or "SECONDARY CAPTURE" in " ".join(_image_type(header)):
        return "secondary capture"
    if not value_of(header, "Rows") or not value_of(header, "Columns"):
        return "no image"
    if modality not in ("CT", ""):
        return f"{modality if modality in _MODALITIES else 'other'} image"
    if (
        text(header, "PhotometricInterpretation") not in ("MONOCHROME2", "MONOCHROME1", "")
        or (whole(header, "SamplesPerPixel") or 1) > 1
    ):
        return "colour image"
    if "LOCALIZER" in _image_type(header):
        return "localizer"
    return ""


def _image_type(header: Any) -> tuple[str, ...]:
    return tuple(word.upper() for word in strings(value_of(header, "ImageType")))


def _pixels(header: Any, stream: io.BufferedReader) -> Pixels:
    syntax = text(header.file_meta, "TransferSyntaxUID") if hasattr(header, "file_meta") else ""
    implicit, little = header.original_encoding
    implicit, little = bool(implicit), bool(little is None or little)
    offset, start = stream.tell(), 0
    if syntax == _DEFLATED:
        start = _PREAMBLE + _GROUP_LENGTH + int(header.file_meta.get("FileMetaInformationGroupLength", 0))
        offset = _offset_in_deflated(stream, start)
    allocated = whole(header, "BitsAllocated") or 16
    stored = whole(header, "BitsStored") or allocated
    return Pixels(
        offset=offset,
        deflated_from=start,
        syntax=syntax or ("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"),
        implicit=implicit,
        little=little,
        rows=int(value_of(header, "Rows")),
        columns=int(value_of(header, "Columns")),
        allocated=allocated,
        stored=min(stored, allocated),
        high_bit=whole(header, "HighBit") or stored - 1,
        signed=whole(header, "PixelRepresentation") == 1,
        frames=max(whole(header, "NumberOfFrames") or 1, 1),
    )


def _offset_in_deflated(stream: io.BufferedReader, start: int) -> int:
    from pydicom.filereader import read_dataset

    stream.seek(start)
    inflated = io.BytesIO(zlib.decompress(stream.read(), wbits=-15))
    read_dataset(inflated, False, True, stop_when=lambda tag, vr, length: tag == 0x7FE00010, specific_tags=[])
    return inflated.tell()
