"""A slice of a DICOM series as its header describes it, without anything that names a patient."""

from dataclasses import dataclass
from pathlib import Path

from cov3d.readers.dicom_values import Vector


@dataclass(frozen=True, slots=True)
class Pixels:
    """The place of the pixels in a file, and how they are stored.

    Attributes:
        offset: bytes before the element of the pixels; in a deflated file, counted in the inflated data set.
        deflated_from: bytes before the deflated data set; 0 for a file that is not deflated.
        syntax: the transfer syntax.
        implicit, little: whether elements have an implicit VR, and are little endian.
        frames: number of frames in the file.
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
    """A frame of a DICOM file. Files hold one frame each, except for multi-frame images.

    Attributes:
        file: the file.
        frame: the number of the frame in it, from 0.
        pixels: how the file stores its pixels.
        study: a hash that distinguishes exams; empty if unknown.
        series: the UID of the series.
        why_not: why it is not a CT slice; empty for a CT slice.
        kernel: the convolution kernel.
        image_type: the words of the image type, in upper case.
        position: position of the first pixel, mm, (left, posterior, superior); empty if unknown.
        directions: directions of a row and of a column, six numbers; empty if unknown.
        spacing: mm between rows, and between columns; empty if unknown.
        thickness: slice thickness, mm; 0 if unknown.
        between: distance between slices by the header, mm; 0 if unknown.
        number: the instance number; None if unknown.
        location: slice location along the table, mm, of unknown sign; None if unknown.
        slope, intercept: Hounsfield units = slope x stored value + intercept.
        padding: least and greatest stored value of padding; empty without padding.
        phase: values that may distinguish slices at one position, in the order of `dicom_header.PHASES`.
    """

    file: Path
    frame: int
    pixels: Pixels | None
    study: str = ""
    series: str = ""
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
