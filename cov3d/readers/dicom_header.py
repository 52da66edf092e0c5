"""The header of a DICOM file: what grouping, geometry and decoding need, and nothing that names a patient.

pydicom reads the elements. The place of the pixels in the file is kept, so that decoding need not read the header
again. UIDs are kept to group by and never leave the reader.
"""

import hashlib
import io
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

Vector = tuple[float, ...]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE, _GROUP_LENGTH = 132, 12
_PER_FRAME, _SHARED = 0x52009230, 0x52009229
_TAGS = (
    "PatientID",  # hashed at once
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "StudyInstanceUID", "SeriesInstanceUID"),
    *("ConvolutionKernel", "SliceThickness", "AcquisitionNumber", "InstanceNumber", "SliceLocation"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "TriggerTime"),
    *("ContentTime", "AcquisitionTime", "AcquisitionDateTime", "SeriesNumber", "ContrastBolusAgent"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
)
_PHASES = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase"),
    *(
        "AcquisitionNumber",
        "FrameAcquisitionNumber",
        "TriggerTime",
        "AcquisitionDateTime",
        "AcquisitionTime",
        "ContentTime",
    ),
)
_MOST_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where the pixels of a file are, and how they are stored.

    Attributes:
        offset: bytes before the element of the pixels, in the inflated data set of a deflated file.
        deflated_from: bytes before the deflated data set; 0 for a file that is not deflated.
        syntax: the transfer syntax.
        implicit, little: how elements are encoded.
        frames: pictures in the file.
    """

    offset: int
    deflated_from: int
    syntax: str
    implicit: bool
    little: bool
    rows: int
    columns: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Slice:
    """A frame of a DICOM file; a file has one but for multi-frame images.

    Attributes:
        file: the file.
        frame: the number of the frame in it, from 0.
        pixels: how the file stores its pixels.
        study: a hash that tells exams apart; empty where it is not known.
        series, instance: UIDs.
        why_not: why it is no slice of a CT; empty for one.
        kernel: the convolution kernel.
        image_type: the words of the image type, in upper case.
        position: of the first pixel, mm, (left, posterior, superior); empty where it is not known.
        directions: of a row and of a column, six numbers; empty where they are not known.
        spacing: mm between rows, and between columns; empty where it is not known.
        thickness, between: mm; 0 where they are not known.
        number: the instance number; None where there is none.
        location: along the table, mm, of unknown sign; None where it is not known.
        slope, intercept: Hounsfield units = slope x stored value + intercept.
        padding: the least and greatest stored value of padding; empty for none.
        phase: what may tell apart slices at one position.
    """

    file: Path
    frame: int
    pixels: Pixels | None
    study: str = ""
    series: str = ""
    instance: str = ""
    why_not: str = ""
    kernel: str = ""
    image_type: tuple[str, ...] = ()
    position: Vector = ()
    directions: Vector = ()
    spacing: Vector = ()
    thickness: float = 0.0
    between: float = 0.0
    number: int | None = None
    location: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    padding: Vector = ()
    phase: tuple[str, ...] = ()


_kept: OrderedDict[tuple[str, int, int], tuple[Slice, ...]] = OrderedDict()


def read_slices(file: Path) -> tuple[Slice, ...]:
    """The slices of a file, one a frame; one with `why_not` for a file that holds none. A header is read once.

    Never raises: what can't be read has `why_not`.
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
    from pydicom.errors import InvalidDicomError

    # Values that break the rules of DICOM are common, and a warning would print them.
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings(), file.open("rb") as stream:
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            return tuple(_slices(file, header, stream))
    except (InvalidDicomError, OSError, EOFError, zlib.error):
        return (Slice(file, 0, None, why_not="unreadable"),)
    except Exception:  # noqa: BLE001 (pydicom raises anything at all on damage)
        return (Slice(file, 0, None, why_not="unreadable"),)
    finally:
        pydicom.config.settings.reading_validation_mode = before


def _slices(file: Path, header: Any, stream: io.BufferedReader) -> Iterator[Slice]:
    series: dict[str, Any] = {
        "study": _study(header),
        "series": _text(header, "SeriesInstanceUID"),
        "instance": _text(header, "SOPInstanceUID"),
    }
    if not header.get("SOPClassUID") and not header.get("Rows") and not header.get("Modality"):
        yield Slice(file, 0, None, **series, why_not="unreadable")
        return
    if why_not := _why_not(header):
        yield Slice(file, 0, None, **series, why_not=why_not, image_type=_image_type(header))
        return
    try:
        pixels = _pixels(header, stream)
    except (TypeError, ValueError, AttributeError):
        yield Slice(file, 0, None, **series, why_not="unreadable")
        return
    plain = _from_groups(Slice(file, 0, pixels, **series), [header])
    plain = replace(plain, number=_whole(header, "InstanceNumber"))
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
    """What tells the exams of a tree apart; empty where the study has no UID. Some anonymisers give all one UID."""
    study = _text(header, "StudyInstanceUID")
    return hashlib.sha256(f"{study}/{_text(header, 'PatientID')}".encode()).hexdigest() if study else ""


def _groups(item: Any) -> Iterator[Any]:
    """The items of a frame's functional groups, each of which holds a few elements."""
    for element in item:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _from_groups(plain: Slice, groups: list[Any]) -> Slice:
    """Fill in what stands in the header, or in the functional groups of a frame; the first that has it counts."""

    def first(*names: str) -> Any:
        for group in groups:
            for name in names:
                value = group.get(name)
                if value is not None and value != "":
                    return value
        return None

    kinds = _strings(first("FrameType", "ImageType"))
    slope = _number(first("RescaleSlope"), 1.0)
    padding = [_number(first(name), np.nan) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [value for value in padding if np.isfinite(value)] if np.isfinite(padding[0]) else []
    return replace(
        plain,
        kernel=" ".join(_strings(first("ConvolutionKernel"))).strip(),
        image_type=tuple(kind.upper() for kind in kinds),
        why_not="localizer" if any("LOCALIZER" in kind.upper() for kind in kinds) else plain.why_not,
        position=_vector(first("ImagePositionPatient"), 3),
        directions=_directions(_vector(first("ImageOrientationPatient"), 6)),
        spacing=_positive(_vector(first("PixelSpacing"), 2)),
        thickness=_number(first("SliceThickness"), 0.0),
        between=abs(_number(first("SpacingBetweenSlices"), 0.0)),
        location=None if first("SliceLocation") is None else _number(first("SliceLocation"), np.nan),
        slope=slope if slope else 1.0,
        intercept=_number(first("RescaleIntercept"), 0.0),
        padding=(min(known), max(known)) if known else (),
        phase=tuple(str(first(name) or "") for name in _PHASES),
    )


def _why_not(header: Any) -> str:
    """Why a file holds no slice of a CT; empty if it does."""
    modality = _text(header, "Modality").upper()
    sop_class = _text(header, "SOPClassUID")
    if sop_class.startswith(("1.2.840.10008.5.1.4.1.1.88", "1.2.840.10008.5.1.4.1.1.104")) or modality == "SR":
        return "report"
    if sop_class.startswith("1.2.840.10008.1.3.10"):
        return "index"
    if sop_class.startswith("1.2.840.10008.5.1.4.1.1.7") or "SECONDARY CAPTURE" in " ".join(_image_type(header)):
        return "secondary capture"
    if not header.get("Rows") or not header.get("Columns"):
        return "no image"
    if modality not in ("CT", ""):
        return f"{modality if modality in _MODALITIES else 'other'} image"
    if (
        _text(header, "PhotometricInterpretation") not in ("MONOCHROME2", "MONOCHROME1", "")
        or (_whole(header, "SamplesPerPixel") or 1) > 1
    ):
        return "colour image"
    if "LOCALIZER" in _image_type(header):
        return "localizer"
    return ""


_MODALITIES = ("MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "SC", "SEG", "OT", "RTSTRUCT", "RTDOSE", "RTPLAN")


def _pixels(header: Any, stream: io.BufferedReader) -> Pixels:
    syntax = _text(header.file_meta, "TransferSyntaxUID") if hasattr(header, "file_meta") else ""
    implicit, little = header.original_encoding
    implicit, little = bool(implicit), bool(little is None or little)
    offset, start = stream.tell(), 0
    if syntax == _DEFLATED:
        start = _PREAMBLE + _GROUP_LENGTH + int(header.file_meta.get("FileMetaInformationGroupLength", 0))
        offset = _offset_in_deflated(stream, start)
    allocated = int(header.get("BitsAllocated") or 16)
    stored = int(header.get("BitsStored") or allocated)
    return Pixels(
        offset=offset,
        deflated_from=start,
        syntax=syntax or ("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"),
        implicit=implicit,
        little=little,
        rows=int(header.Rows),
        columns=int(header.Columns),
        allocated=allocated,
        stored=min(stored, allocated),
        high_bit=int(header.get("HighBit") or stored - 1),
        signed=int(header.get("PixelRepresentation") or 0) == 1,
        frames=max(int(header.get("NumberOfFrames") or 1), 1),
    )


def _offset_in_deflated(stream: io.BufferedReader, start: int) -> int:
    from pydicom.filereader import read_dataset

    stream.seek(start)
    inflated = io.BytesIO(zlib.decompress(stream.read(), wbits=-15))
    read_dataset(inflated, False, True, stop_when=lambda tag, vr, length: tag == 0x7FE00010, specific_tags=[])
    return inflated.tell()


def _text(dataset: Any, name: str) -> str:
    value = dataset.get(name)
    return "" if value is None else str(value).strip()


def _strings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _image_type(header: Any) -> tuple[str, ...]:
    return tuple(word.upper() for word in _strings(header.get("ImageType")))


def _number(value: Any, default: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _whole(header: Any, name: str) -> int | None:
    try:
        return int(header.get(name))
    except (TypeError, ValueError):
        return None


def _vector(value: Any, count: int) -> Vector:
    try:
        numbers = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


def _positive(numbers: Vector) -> Vector:
    return numbers if all(number > 0 for number in numbers) else ()


def _directions(numbers: Vector) -> Vector:
    """Directions of unit length at right angles; empty where they are none."""
    if not numbers:
        return ()
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(row @ column) > 0.05 * lengths[0] * lengths[1]:
        return ()
    return (*map(float, row / lengths[0]), *map(float, column / lengths[1]))
