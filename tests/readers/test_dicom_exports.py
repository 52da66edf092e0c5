"""Odd exports of DICOM: mixed acquisitions, wrong or damaged elements, UIDs of anonymisers, and very large series."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cov3d.errors import ScanError
from cov3d.readers import discover, read_volume
from tests.readers.dicom_files import STEP, UID, Change, grey, header, hounsfield, save, series
from tests.readers.test_dicom import put, read_as


def _private(index: int, made: Dataset) -> None:
    """Megabytes of private elements before and beside the pixels, and an icon with pixels of its own."""
    made.private_block(0x0011, "VENDOR", create=True).add_new(1, "OB", bytes(1_000_000))
    made.private_block(0x7FE1, "VENDOR", create=True).add_new(1, "OW", bytes(500_000))
    icon = Dataset()
    icon.PixelData = b"12"
    icon["PixelData"].VR = "OB"
    made.IconImageSequence = [icon]


SAME_VOXELS: dict[str, Change] = {
    "rescale type HU": put(RescaleType="HU"),
    "rescale type unspecified": put(RescaleType="US"),
    "one SOP instance UID for all": put(SOPInstanceUID="1.2.3"),
    "large private elements": _private,
    "names in UTF-8": put(SpecificCharacterSet="ISO_IR 192", PatientName="Łukasz^山田", PatientID="ÄÖ山"),
    "pixel spacing with jitter": put(PixelSpacing=lambda index: [0.75, 0.50049 + 0.00004 * (index % 2)]),
    "signs that differ from slice to slice": put(
        PixelRepresentation=lambda index: index % 2,
        BitsStored=16,
        HighBit=15,
        RescaleIntercept=lambda index: 0 if index % 2 else -1024,
    ),
    "MONOCHROME1": put(PhotometricInterpretation="MONOCHROME1"),
    "positions with exponents": put(
        ImagePositionPatient=lambda index: ["-1.000E+01", "-2E1", f"{100 + STEP * index:.6e}"]
    ),
}


@pytest.mark.parametrize("variant", SAME_VOXELS)
def test_variants_give_the_volume_without_notes(tmp_path: Path, variant: str) -> None:
    volume = read_as(tmp_path, series(tmp_path, None, SAME_VOXELS[variant]))
    assert (volume.notes, volume.missing, volume.corrupt, volume.doubled) == ((), 0, 0, 0)


def test_transfer_syntaxes_may_differ_within_a_series(tmp_path: Path) -> None:
    for index, suffix in enumerate((".1", "", ".4.70", ".4.80", ".4.90", ".5", ".1.99", ".2")):
        expected = series(tmp_path, hounsfield(), syntax=f"{UID}{suffix}", indices=[index])
    read_as(tmp_path, expected)


def test_very_long_paths_are_read(tmp_path: Path) -> None:
    folder = tmp_path
    for number in range(10):
        folder /= "Ä" * 100 + str(number)
    assert len(str(folder).encode()) > 2000
    read_as(tmp_path, series(folder))


@pytest.mark.parametrize(("found", "written"), [(b"2.5 ", b"2,5 "), (b"-10.0\\-20.0\\", b"-10,0\\-20,0\\")])
def test_decimal_commas_are_read_as_points(tmp_path: Path, found: bytes, written: bytes) -> None:
    expected = series(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(found, written))
    assert read_as(tmp_path, expected).orientation_known


def test_names_in_a_wrong_character_set_are_passed_over(tmp_path: Path) -> None:
    change = put(PatientName="AAAA^BBBB", PatientID="CCCCCC", SpecificCharacterSet="ISO 2022 IR 87")
    expected = series(tmp_path, None, change)
    for file in tmp_path.iterdir():
        content = file.read_bytes().replace(b"AAAA^BBBB", b"\xff\xfe\x1b$B\x81\xfe^\xe4")
        file.write_bytes(content.replace(b"CCCCCC", b"\xff\xe4\x80\x81\x1b$"))
    read_as(tmp_path, expected)


def repeated(folder: Path, offset: float, **tags: object) -> NDArray[np.uint8]:
    """A series with a second acquisition of the same region, `offset` mm further up; the volume of the first."""
    expected = series(folder, hounsfield(16), put(AcquisitionNumber=1))
    second = put(ImagePositionPatient=lambda index: [-10, -20, 100 + offset + STEP * index], **tags)
    series(folder, hounsfield(16, 1), second, names=lambda index: f"Z{index:03d}.dcm")
    return expected


@pytest.mark.parametrize("offset", [0.0, 1.0, STEP / 2, STEP])
def test_two_acquisitions_in_one_series_are_not_mixed(tmp_path: Path, offset: float) -> None:
    expected = repeated(tmp_path, offset, AcquisitionNumber=2)
    assert read_as(tmp_path, expected).series.startswith("1 of 2: 16 axial slices every 2.5 mm")
    (left,) = discover([tmp_path]).left_out
    assert left.reason.startswith("is another series of the exam (16 axial slices")


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("number", [lambda index: 17 + index, lambda index: 32 - index])
def test_without_acquisition_numbers_instance_numbers_show_a_second_pass(
    tmp_path: Path, offset: float, number: Callable[[int], int]
) -> None:
    read_as(tmp_path, repeated(tmp_path, offset, AcquisitionNumber=1, InstanceNumber=number))


def test_instance_numbers_that_count_every_second_slice_first_split_nothing(tmp_path: Path) -> None:
    read_as(tmp_path, series(tmp_path, hounsfield(16), put(InstanceNumber=lambda index: index // 2 + 8 * (index % 2))))


@pytest.mark.parametrize("tags", [{"AcquisitionNumber": 2}, {"InstanceNumber": lambda index: index + 50}])
def test_acquisitions_that_follow_each_other_are_joined(tmp_path: Path, tags: dict[str, object]) -> None:
    """Two positions of the table, with two slices of overlap that differ."""
    values = hounsfield(20)
    second = values.copy()
    second[:12] += 9
    series(tmp_path, values, put(AcquisitionNumber=1), indices=range(12))
    names = "Z{:03d}.dcm".format
    series(tmp_path, second, put(**{"AcquisitionNumber": 1, **tags}), names=names, indices=range(10, 20))
    volume = read_as(tmp_path, grey(values)[::-1])
    assert volume.notes == ("acquisitions that follow each other joined, 2 slices of their overlap dropped",)
    assert (volume.slices_found, volume.missing) == (22, 0)
    assert discover([tmp_path]).left_out == []


@pytest.mark.parametrize("overlap", [0, 1])
def test_many_positions_of_the_table_are_one_scan(tmp_path: Path, overlap: int) -> None:
    values = hounsfield(30)
    for bed, first in enumerate(range(0, 30, 6)):
        names = f"{bed}-{{:03d}}.dcm".format
        own = values.copy()
        own[:first] += 9
        change = put(AcquisitionNumber=bed + 1, InstanceNumber=lambda index, bed=bed: index + 100 * bed)
        series(tmp_path, own, change, names=names, indices=range(max(first - overlap, 0), first + 6))
    volume = read_as(tmp_path, grey(values)[::-1])
    assert (volume.missing, volume.doubled, volume.slices_found) == (0, 0, 30 + 4 * overlap)


def test_single_slices_of_another_acquisition_are_not_mixed_in(tmp_path: Path) -> None:
    """Slices at one position that watch contrast medium arrive, under the UID of the scan."""
    expected = series(tmp_path, hounsfield(12), put(AcquisitionNumber=2))
    for number in range(5):
        change = put(AcquisitionNumber=1, ContentTime=f"10000{number}")
        series(tmp_path, hounsfield(12, 9), change, names=f"B{number}.dcm".format, indices=[5])
    read_as(tmp_path, expected)
    assert all("does not fit its series" in left.reason for left in discover([tmp_path]).left_out)


def test_one_slice_of_another_size_is_left_out_and_listed(tmp_path: Path) -> None:
    expected = series(tmp_path, indices=[0, 1, 2, 4, 5, 6, 7])
    save(tmp_path / "IM0004.dcm", header(3, 16, 16), np.full((16, 16), 1000, "<u2"))
    assert read_as(tmp_path, np.delete(expected, 4, axis=0)).missing == 1
    (left,) = discover([tmp_path]).left_out
    assert (left.path.name, left.is_scan) == ("IM0004.dcm", False)
    assert left.reason.startswith("is a slice that does not fit its series in size")


def test_one_position_for_all_slices_is_none(tmp_path: Path) -> None:
    volume = read_as(tmp_path, series(tmp_path, None, put(ImagePositionPatient=[0, 0, 0])))
    assert not volume.orientation_known
    assert volume.notes[0].startswith("the header holds no usable positions: ordered by slice location")


def test_signed_values_that_the_header_calls_unsigned_are_corrected(tmp_path: Path) -> None:
    values = hounsfield()
    for index in range(8):
        made = header(index)
        made.RescaleIntercept, made.BitsStored, made.HighBit = 0, 16, 15
        save(tmp_path / f"{index}.dcm", made, values[index].astype("<i2").view("<u2"))
    volume = read_as(tmp_path, grey(values)[::-1])
    assert volume.notes == ("stored values are signed, though the header says unsigned: corrected",)


def test_padding_of_the_other_sign_is_air(tmp_path: Path) -> None:
    def change(index: int, made: Dataset) -> None:
        made.BitsStored, made.HighBit = 16, 15
        made.add_new("PixelPaddingValue", "SS", -1)

    values = hounsfield().astype(np.int32)
    values[:, :4] = 65535 - 1024
    series(tmp_path, values, change)
    voxels = read_volume(tmp_path).voxels
    assert not voxels[:, :4].any()
    assert np.array_equal(voxels[:, 4:], grey(values)[::-1, 4:])


def test_maps_in_other_units_are_left_out(tmp_path: Path) -> None:
    """Effective atomic numbers of a spectral CT, in the exam of the CT."""
    expected = series(tmp_path / "ct")
    series(tmp_path / "map", hounsfield(30), put(RescaleType="Z_EFF", SeriesInstanceUID="7.7"))
    read_as(tmp_path, expected)
    assert [left.reason for left in discover([tmp_path]).left_out] == [
        "holds 30 DICOM maps in other units than HU (IM0001.dcm to IM0030.dcm)"
    ]


def test_headers_without_pixels_are_left_out_as_a_lost_scan(tmp_path: Path) -> None:
    expected = series(tmp_path / "ct")
    series(tmp_path / "headers", None, put(StudyInstanceUID="7.7"))
    for file in (tmp_path / "headers").iterdir():
        made = pydicom.dcmread(file)
        del made.PixelData
        made.save_as(file)
    read_as(tmp_path, expected)
    (left,) = discover([tmp_path]).left_out
    assert left.is_scan
    assert left.reason.startswith("holds 8 DICOM headers without pixels (IM0001.dcm to IM0008.dcm): copy")


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_uid_for_each_slice_is_reported_once(tmp_path: Path, tag: str) -> None:
    series(tmp_path, None, put(**{tag: lambda index: f"9.8.{index}"}))
    with pytest.raises(ScanError, match=r"holds 8 CT slices \(IM0001.dcm to IM0008.dcm\), each of a series of its own"):
        discover([tmp_path])


def test_a_series_of_two_thousand_slices_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-1000, 300, (2000, 8, 8)).astype(np.int16)
    thin = put(ImagePositionPatient=lambda index: [-10, -20, 100 + 0.25 * index], SliceThickness=0.5)
    expected = series(tmp_path, values, thin)
    read_as(tmp_path, expected, spacing=(0.25, 0.75, 0.5))
