"""Values of DICOM elements: those that pydicom gives, though an element that occurred before is not converted again."""

from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from cov3d.readers import dicom_values
from cov3d.readers.dicom_header import _TAGS
from cov3d.readers.dicom_values import value_of
from tests.readers.dicom_files import header


def written(made: Dataset, implicit: bool, little: bool) -> bytes:
    """A data set as bytes, without a preamble."""
    stream = BytesIO()
    pydicom.dcmwrite(stream, made, implicit_vr=implicit, little_endian=little)
    return stream.getvalue()


def parsed(data: bytes, implicit: bool, little: bool) -> Dataset:
    """A data set from bytes."""
    return pydicom.filereader.read_dataset(BytesIO(data), implicit, little)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_values_are_those_of_pydicom(implicit: bool, little: bool) -> None:
    made = header(3)
    made.PatientID, made.ContentTime, made.TriggerTime, made.PixelPaddingValue = "a patient", "101112.5", 3.5, 63_536
    made.AcquisitionDateTime, made.RescaleType, made.SpacingBetweenSlices = "20200102030405", "HU", 2.5
    data = written(made, implicit, little)
    for _ in range(2):
        mine, its = parsed(data, implicit, little), parsed(data, implicit, little)
        for name in _TAGS:
            assert value_of(mine, name) == its.get(name), name
        assert value_of(mine, "PatientID") == "a patient"
        assert value_of(mine, "PixelPaddingValue") == 63_536


def test_equal_bytes_have_another_value_in_another_byte_order() -> None:
    small, large = Dataset(), Dataset()
    small.Rows, large.Rows = 1, 256
    assert value_of(parsed(written(small, False, True), False, True), "Rows") == 1
    assert value_of(parsed(written(large, False, False), False, False), "Rows") == 256


@pytest.mark.filterwarnings("ignore:The value length")
def test_no_identifier_and_no_long_value_stays_in_memory() -> None:
    made = Dataset()
    made.add_new("PatientID", "CS", "DOE JOHN")  # a wrong representation
    made.ImageType = ["A" * 300]
    read = parsed(written(made, False, True), False, True)
    before = dicom_values._converted.cache_info().currsize
    assert value_of(read, "PatientID") == "DOE JOHN"
    assert value_of(read, "ImageType") == "A" * 300
    assert dicom_values._converted.cache_info().currsize == before
