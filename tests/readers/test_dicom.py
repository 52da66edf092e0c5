"""DICOM series as they come out of hospitals: the right voxels, order and spacing, or one clear sentence.

`docs/dicom.md` lists the variants.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from cov3d.errors import ScanError
from cov3d.readers import discover, read_volume
from cov3d.volume import Volume
from tests.readers import dicom_files
from tests.readers.dicom_files import PIXEL, STEP, UID, enhanced, grey, hounsfield, other_image, series, truncate

SPACING = (STEP, *PIXEL)


def put(**tags: object) -> dicom_files.Change:
    """The same change of every slice: a value, a function of the index, or None to remove the element."""

    def change(index: int, made: Dataset) -> None:
        for name, value in tags.items():
            found = value(index) if callable(value) else value
            if found is None:
                del made[name]
            else:
                setattr(made, name, found)

    return change


def read_as(folder: Path, expected: NDArray[np.uint8], spacing: tuple[float, ...] | None = SPACING) -> Volume:
    """Find the only scan of a folder and read it; threads change nothing."""
    found = discover([folder])
    assert len(found.scans) == 1
    volume = read_volume(found.scans[0], threads=1)
    assert np.array_equal(volume.voxels, expected)
    assert volume.spacing == (None if spacing is None else pytest.approx(spacing, rel=2e-3))
    assert volume.format == "DICOM"
    assert np.array_equal(read_volume(found.scans[0], threads=3).voxels, expected)
    return volume


RANDOM = np.random.default_rng(5).permutation(8)

SAME_VOXELS: dict[str, tuple[dicom_files.Change, dict[str, object]]] = {
    "plain": (put(), {}),
    "names do not follow anatomy": (put(), {"names": lambda index: f"{RANDOM[index]}.dcm"}),
    "no file extension": (put(), {"names": lambda index: f"IM{index:04d}"}),
    "endings that mean nothing": (put(), {"names": lambda index: f"{index}.CT"}),
    "UIDs as names": (put(), {"names": lambda index: f"1.2.840.{index}"}),
    "endings of Siemens": (put(), {"names": lambda index: f"A.{index}.IMA"}),
    "upper case endings": (put(), {"names": lambda index: f"{index}.DCM"}),
    "a folder a slice": (put(), {"names": lambda index: f"S{index}/1.dcm"}),
    "instance numbers reversed": (put(InstanceNumber=lambda index: 8 - index), {}),
    "instance numbers equal": (put(InstanceNumber=1), {}),
    "instance numbers missing": (put(InstanceNumber=None), {}),
    "instance numbers at random": (put(InstanceNumber=lambda index: int(RANDOM[index])), {}),
    "slice location of the opposite sign": (put(SliceLocation=lambda index: -100 - STEP * index), {}),
    "slice location missing": (put(SliceLocation=None), {}),
    "tags of spacing and tilt that lie": (put(SpacingBetweenSlices=9.0, SliceThickness=5.0, GantryDetectorTilt=20), {}),
    "no UID of the series": (put(SeriesInstanceUID=None), {}),
    "no UID of the study": (put(StudyInstanceUID=None), {}),
    "a UID that breaks the rules": (put(SeriesInstanceUID="09bc8aea-ff9c-4106-8514"), {}),
    "no modality": (put(Modality=None), {}),
    "no image type": (put(ImageType=None), {}),
    "no kernel": (put(ConvolutionKernel=None), {}),
    "an acquisition a slice": (put(AcquisitionNumber=lambda index: index + 1), {}),
    "a time a slice": (put(ContentTime=lambda index: f"10010{index}"), {}),
    "orientation with jitter": (put(ImageOrientationPatient=lambda index: [1, 1e-4 * (index % 2), 0, 0, 1, 0]), {}),
    "positions with jitter": (
        put(ImagePositionPatient=lambda index: [-10, -20, 100 + STEP * index + 0.01 * (-1) ** index]),
        {},
    ),
    "signed, 16 bits": (put(PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=0), {}),
    "signed, 12 of 16 bits": (put(PixelRepresentation=1, BitsStored=12, HighBit=11, RescaleIntercept=0), {}),
    "32 bits": (put(BitsAllocated=32, BitsStored=32, HighBit=31, PixelRepresentation=1, RescaleIntercept=0), {}),
    "an intercept a slice": (put(RescaleIntercept=lambda index: -1024 - 16 * index), {}),
    "a slope and an intercept a slice": (
        put(RescaleSlope=lambda index: (1, 0.5)[index % 2], RescaleIntercept=lambda index: -1024 - 10 * index),
        {},
    ),
    "implicit VR": (put(), {"syntax": ImplicitVRLittleEndian}),
    "big endian": (put(), {"syntax": f"{UID}.2"}),
    "deflated": (put(), {"syntax": f"{UID}.1.99"}),
    "no preamble": (put(), {"preamble": False}),
    "no preamble, implicit VR": (put(), {"preamble": False, "syntax": ImplicitVRLittleEndian}),
    "RLE": (put(), {"syntax": f"{UID}.5"}),
    "JPEG Lossless": (put(), {"syntax": f"{UID}.4.57"}),
    "JPEG Lossless, selection value 1": (put(), {"syntax": f"{UID}.4.70"}),
    "JPEG-LS": (put(), {"syntax": f"{UID}.4.80"}),
    "JPEG 2000": (put(), {"syntax": f"{UID}.4.90"}),
    "HTJ2K": (put(), {"syntax": f"{UID}.4.201"}),
}


@pytest.mark.parametrize("variant", SAME_VOXELS)
def test_variants_of_one_series_give_one_volume(tmp_path: Path, variant: str) -> None:
    change, how = SAME_VOXELS[variant]
    expected = series(tmp_path / "ct", None, change, **how)  # type: ignore[arg-type]
    volume = read_as(tmp_path / "ct", expected)
    assert (volume.missing, volume.doubled, volume.corrupt) == (0, 0, 0)
    assert volume.orientation_known
    assert volume.window_known
    assert volume.notes == ()


@pytest.mark.parametrize("number", [110, 112])
def test_jpeg_xl_is_read(tmp_path: Path, number: int) -> None:
    """pydicom writes no JPEG XL: it is written as another syntax of the same length, and its name changed."""
    expected = series(tmp_path, syntax=f"{UID}.4.203")
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(f"{UID}.4.203".encode(), f"{UID}.4.{number}".encode()))
    read_as(tmp_path, expected)


@pytest.mark.parametrize("syntax", [f"{UID}.4.51", f"{UID}.4.81", f"{UID}.4.91"])
def test_lossy_slices_are_near_the_original(tmp_path: Path, syntax: str) -> None:
    smooth = (hounsfield()[:, :1, :1] // 4 - 400 + 20 * np.arange(32)).repeat(32, axis=1).astype(np.int16)
    expected = series(tmp_path, smooth, syntax=syntax)
    assert np.abs(read_volume(tmp_path).voxels.astype(int) - expected).max() <= 3


def test_jpeg_of_8_bits_is_near_the_original(tmp_path: Path) -> None:
    smooth = (hounsfield()[:, :1, :1] // 4 - 400 + 20 * np.arange(32)).repeat(32, axis=1).astype(np.int16)
    eight = put(BitsAllocated=8, BitsStored=8, HighBit=7, RescaleSlope=6, RescaleIntercept=-1150)
    expected = series(tmp_path, smooth, eight, syntax=f"{UID}.4.50")
    assert np.abs(read_volume(tmp_path).voxels.astype(int) - expected).max() <= 4


def test_every_orientation_of_the_slices_is_turned_to_the_canonical_one(tmp_path: Path) -> None:
    """Prone, feet first and scanned sagittally: voxels go where their positions say."""
    values = hounsfield()
    for number, (row, column, normal) in enumerate(
        [((-1, 0, 0), (0, -1, 0), (0, 0, 1)), ((1, 0, 0), (0, 1, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1), (-1, 0, 0))]
    ):
        folder = tmp_path / str(number)
        at = put(
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=lambda index, normal=normal: [STEP * index * part for part in normal],
        )
        series(folder, values, at)
        found = read_volume(folder)
        axes = np.array([normal, column, row])
        stored = grey(values)
        canonical = np.array([(0, 0, -1), (0, 1, 0), (1, 0, 0)])
        order = [int(np.flatnonzero(np.abs(axes @ direction))[0]) for direction in canonical]
        turned = stored.transpose(order)
        for axis, direction in enumerate(canonical):
            if axes[order[axis]] @ direction < 0:
                turned = np.flip(turned, axis)
        assert np.array_equal(found.voxels, turned), number
        assert found.spacing == pytest.approx([(STEP, *PIXEL)[axis] for axis in order])


def test_one_file_stands_for_its_series_whichever_it_is(tmp_path: Path) -> None:
    expected = series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    for file in (files[0], files[5]):
        assert np.array_equal(read_volume(file).voxels, expected)
    assert discover(files).scans == [files[0]]


def test_a_missing_slice_is_noted_with_its_place_and_not_made_up(tmp_path: Path) -> None:
    expected = series(tmp_path, indices=[0, 1, 2, 4, 5, 6, 7])
    volume = read_as(tmp_path, grey(hounsfield())[[7, 6, 5, 4, 2, 1, 0]])
    assert len(expected) == 8
    assert volume.missing == 1
    assert volume.notes == ("1 slice missing (between 105 and 110 mm)",)


def test_a_series_of_which_most_is_missing_is_refused(tmp_path: Path) -> None:
    series(tmp_path, hounsfield(40), indices=[0, 1, 2, 3, 36, 37, 38, 39])
    with pytest.raises(ScanError, match="lie far apart: 32 are missing among 8"):
        read_volume(tmp_path)


def test_copied_slices_are_dropped_and_counted(tmp_path: Path) -> None:
    expected = series(tmp_path)
    for number in (2, 3):
        (tmp_path / f"copy {number}.dcm").write_bytes((tmp_path / f"IM000{number}.dcm").read_bytes())
    volume = read_as(tmp_path, expected)
    assert (volume.doubled, volume.slices_found) == (2, 10)
    assert volume.notes == ("2 copied slices dropped",)


def test_a_copy_stands_in_for_a_damaged_slice(tmp_path: Path) -> None:
    expected = series(tmp_path)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "IM0002.dcm").read_bytes())
    truncate(tmp_path / "IM0002.dcm", 900)
    assert read_as(tmp_path, expected).corrupt == 0


def test_two_different_slices_at_one_position_are_refused(tmp_path: Path) -> None:
    series(tmp_path)
    series(tmp_path, hounsfield(seed=1), names=lambda index: f"B{index}.dcm")
    with pytest.raises(ScanError, match="two different slices at one position"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "tag", ["AcquisitionNumber", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime"]
)
def test_phases_at_the_same_positions_are_distinguished(tmp_path: Path, tag: str) -> None:
    first = series(tmp_path, None, put(**{tag: 1}))
    series(tmp_path, hounsfield(seed=1), put(**{tag: 2}), names=lambda index: f"Z{index}.dcm")
    volume = read_as(tmp_path, first)
    assert volume.series.startswith("1 of 2: 8 axial slices every 2.5 mm")


def test_two_kernels_under_one_uid_are_two_series_and_the_sharper_is_taken(tmp_path: Path) -> None:
    series(tmp_path, None, put(ConvolutionKernel="B30f"))
    sharp = series(tmp_path, hounsfield(seed=1), put(ConvolutionKernel="B70f"), names=lambda index: f"Z{index}.dcm")
    read_as(tmp_path, sharp)
    assert [str(left) for left in discover([tmp_path]).left_out] == [
        f"{tmp_path}/IM0001.dcm is another series of the exam (8 axial slices every 2.5 mm, soft or medium kernel): "
        "not the one taken (8 axial slices every 2.5 mm, sharp kernel)"
    ]


def test_the_thinner_series_of_an_exam_is_taken_and_the_other_is_listed(tmp_path: Path) -> None:
    thick = put(SeriesInstanceUID="9.9", ImagePositionPatient=lambda index: [-10, -20, 100 + 5 * index])
    series(tmp_path / "P1" / "thick", hounsfield(seed=1), thick)
    thin = series(tmp_path / "P1" / "thin", hounsfield(16))
    found = discover([tmp_path])
    assert found.scans == [tmp_path / "P1" / "thin"]
    assert [left.path for left in found.left_out] == [tmp_path / "P1" / "thick"]
    assert not found.left_out[0].is_scan
    assert np.array_equal(read_volume(tmp_path / "P1").voxels, thin)
    chosen = discover([tmp_path], series="9.9")
    assert read_volume(chosen.scans[0]).spacing == pytest.approx((5, *PIXEL))
    with pytest.raises(ScanError, match="check --series"):
        discover([tmp_path], series="8.8")


def test_a_short_stack_and_reformats_and_coronal_slices_are_not_taken(tmp_path: Path) -> None:
    chest = series(tmp_path / "chest", hounsfield(12))
    short = put(SeriesInstanceUID="1.1", ImagePositionPatient=lambda index: [-10, -20, 100 + index])
    series(tmp_path / "short", hounsfield(8, 1), short)
    derived = put(
        SeriesInstanceUID="1.2",
        ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"],
        ImagePositionPatient=lambda index: [-10, -20, 100 + index],
    )
    series(tmp_path / "mip", hounsfield(28, 2), derived)
    coronal = put(
        SeriesInstanceUID="1.3",
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImagePositionPatient=lambda index: [-10, index, 100],
    )
    series(tmp_path / "coronal", hounsfield(60, 3), coronal)
    found = discover([tmp_path])
    assert found.scans == [tmp_path / "chest"]
    assert np.array_equal(read_volume(found.scans[0]).voxels, chest)
    assert len(found.left_out) == 3


def test_exams_in_one_folder_are_scans_each(tmp_path: Path) -> None:
    first = series(tmp_path)
    other = put(StudyInstanceUID="7.7", SeriesInstanceUID="7.7.1")
    second = series(tmp_path, hounsfield(seed=1), other, names=lambda index: f"Z{index}.dcm")
    scans = discover([tmp_path]).scans
    assert scans == [tmp_path / "IM0001.dcm", tmp_path / "Z0.dcm"]
    for scan, expected in zip(scans, (first, second), strict=True):
        assert np.array_equal(read_volume(scan).voxels, expected)
    with pytest.raises(ScanError, match="holds 2 exams"):
        read_volume(tmp_path)


def test_patients_whose_anonymiser_gave_them_one_study_uid_are_scans_each(tmp_path: Path) -> None:
    for number in (1, 2):
        series(tmp_path / f"P{number}", hounsfield(seed=number), put(PatientID=f"A{number}"))
    scans = discover([tmp_path]).scans
    assert scans == [tmp_path / "P1", tmp_path / "P2"]
    assert np.array_equal(read_volume(scans[1]).voxels, grey(hounsfield(seed=2))[::-1])


def test_series_without_any_uid_are_scans_by_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        series(tmp_path / f"P{number}", hounsfield(seed=number), put(StudyInstanceUID="", SeriesInstanceUID=""))
    assert discover([tmp_path]).scans == [tmp_path / "P1", tmp_path / "P2"]


def test_uneven_spacing_is_resampled_onto_an_even_grid(tmp_path: Path) -> None:
    """Half of the slices every 2 mm and half every 5: a ramp of density comes back a ramp."""
    places = [0, 2, 4, 6, 8, 10, 12, 17, 22, 27]
    values = (np.array(places) * 30 - 1000)[:, None, None] + np.arange(32)[None, :, None] + np.zeros((1, 1, 32))
    values[:, 16:] = 40  # soft tissue
    series(tmp_path, values.astype(np.int16), put(ImagePositionPatient=lambda index: [-10, -20, float(places[index])]))
    volume = read_volume(tmp_path)
    assert volume.spacing == pytest.approx((2, *PIXEL))
    assert volume.notes == ("slices unevenly spaced (2 to 5 mm): resampled every 2 mm",)
    expected = (np.arange(0, 27, 2)[::-1] * 30 - 1000 + 1150) * 0.17
    assert np.abs(volume.voxels[:, 0, 0] - expected).max() <= 1


@pytest.mark.parametrize("degrees", [12, -20])
def test_gantry_tilt_is_sheared_back_by_the_positions(tmp_path: Path, degrees: float) -> None:
    """A rod along the normal of the tilted slices is straight in the volume; the tag of the tilt is 0."""
    tilt = np.radians(degrees)
    column = np.array([0, np.cos(tilt), np.sin(tilt)])
    positions = [np.array([0, 0, 2.0 * index]) for index in range(12)]
    values = np.full((12, 32, 32), -900, dtype=np.int16)
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    for index, position in enumerate(positions):
        rod = column * 12 + normal * (position @ normal)  # a point of the rod, in the plane of this slice
        at = round(float((rod - position) @ column))
        values[index, at - 1 : at + 2, 12:20] = 100
    at = put(
        ImageOrientationPatient=[1, 0, 0, *column.tolist()],
        ImagePositionPatient=lambda index: positions[index].tolist(),
        PixelSpacing=[1, 1],
        GantryDetectorTilt=0,
    )
    series(tmp_path, values, at)
    volume = read_volume(tmp_path)
    assert volume.spacing == pytest.approx((2 * np.cos(tilt), 1, 1))
    assert "sheared back" in " ".join(volume.notes)
    rows = [np.average(np.arange(len(plane)), weights=plane[:, 15] > 150) for plane in volume.voxels]
    assert np.ptp(rows) <= 1


@pytest.mark.parametrize("padding", [-2000, -1000, 0, 3000])
def test_padding_becomes_air_whatever_its_value(tmp_path: Path, padding: int) -> None:
    values = hounsfield()
    corner = np.zeros(values.shape, dtype=bool)
    corner[:, :8, :8] = True
    expected = grey(values)
    expected[corner] = 0
    signed = put(PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=-1024, PixelPaddingValue=padding)
    stored = np.where(corner, padding - 1024, values)
    if padding == 0:  # -1024 HU: it is air as it is
        expected[corner] = grey(np.array(-1024))
    series(tmp_path, stored.astype(np.int16), signed)
    kept = (stored != padding - 1024) | corner
    assert np.array_equal(read_volume(tmp_path).voxels[kept[::-1]], expected[::-1][kept[::-1]])


def test_a_range_of_padding_is_air(tmp_path: Path) -> None:
    values = hounsfield()
    values[:, :4, :4], values[:, 4:8, :4] = 2900, 2950
    series(tmp_path, values, put(PixelPaddingValue=3900, PixelPaddingRangeLimit=4095))
    voxels = read_volume(tmp_path).voxels
    assert not voxels[:, :8, :4].any()


def test_bits_above_those_stored_are_no_part_of_a_value(tmp_path: Path) -> None:
    values = hounsfield()
    expected = series(tmp_path, values + np.int16(0))
    for index in range(8):
        made = dicom_files.header(index)
        overlay = (values[index] + 1024).astype(np.uint16) | np.uint16(0x8000)
        dicom_files.save(tmp_path / f"IM{index + 1:04d}.dcm", made, overlay)
    read_as(tmp_path, expected)


@pytest.mark.parametrize("syntax", [f"{UID}.1", f"{UID}.4.70", f"{UID}.4.90", f"{UID}.5"])
def test_frames_of_an_enhanced_ct_are_slices(tmp_path: Path, syntax: str) -> None:
    expected = enhanced(tmp_path / "a" / "IM1", hounsfield(), syntax)
    volume = read_as(tmp_path, expected)
    assert volume.slices_found == 8


def test_frames_in_any_order_are_ordered_by_position(tmp_path: Path) -> None:
    values = hounsfield()
    enhanced(tmp_path / "a.dcm", values)
    import pydicom

    made = pydicom.dcmread(tmp_path / "a.dcm")
    made.PerFrameFunctionalGroupsSequence = list(reversed(made.PerFrameFunctionalGroupsSequence))
    made.save_as(tmp_path / "a.dcm")
    assert np.array_equal(read_volume(tmp_path / "a.dcm").voxels, grey(values))


def test_a_truncated_slice_is_left_out_and_counted(tmp_path: Path) -> None:
    expected = series(tmp_path)
    truncate(tmp_path / "IM0003.dcm", 700)
    volume = read_as(tmp_path, np.delete(expected, 5, axis=0))
    assert (volume.corrupt, volume.missing) == (1, 0)
    assert volume.notes == ("1 unreadable slice left out",)


def test_slices_of_several_scales_with_truncated_ones_between_each_have_their_own(tmp_path: Path) -> None:
    """Slices are converted several at once, where they are alike."""
    expected = series(
        tmp_path,
        hounsfield(depth=20),
        put(
            RescaleIntercept=lambda index: -1024 - 8 * (index // 3),
            RescaleSlope=lambda index: 0.5 if index == 11 else 1,
            PixelRepresentation=lambda index: int(index in (5, 6)),
        ),
    )
    lost = [0, 4, 12, 13, 19]
    for index in lost:
        truncate(tmp_path / f"IM{index + 1:04d}.dcm", 700)
    volume = read_as(tmp_path, np.delete(expected, [19 - index for index in lost], axis=0))
    assert volume.corrupt + volume.missing == 5


@pytest.mark.parametrize("syntax", [f"{UID}.4.70", f"{UID}.4.80", f"{UID}.4.90", f"{UID}.5", f"{UID}.1.99"])
def test_a_truncated_compressed_slice_is_left_out_and_counted(tmp_path: Path, syntax: str) -> None:
    expected = series(tmp_path, syntax=syntax)
    truncate(tmp_path / "IM0003.dcm", 300)
    scan = discover([tmp_path]).scans[0]
    volume = read_volume(scan)
    assert np.array_equal(volume.voxels, np.delete(expected, 5, axis=0))
    assert volume.corrupt + volume.missing == 1  # the header of a deflated file is lost with its pixels


def test_a_padding_byte_after_the_end_of_a_frame_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syntax = f"{UID}.4.70"
    encode = dicom_files.ENCODERS[syntax]
    monkeypatch.setitem(dicom_files.ENCODERS, syntax, lambda plane: encode(plane) + b"\x55")
    read_as(tmp_path, series(tmp_path, syntax=syntax))


def test_a_series_of_which_most_is_truncated_is_refused(tmp_path: Path) -> None:
    series(tmp_path)
    for number in range(1, 6):
        truncate(tmp_path / f"IM000{number}.dcm", 700)
    with pytest.raises(ScanError, match=r"5 of the 8 slices of .* are truncated or damaged"):
        read_volume(tmp_path)


def test_a_localizer_in_the_series_is_no_slice(tmp_path: Path) -> None:
    expected = series(tmp_path)
    other_image(tmp_path / "IM0000.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], Rows=64)
    read_as(tmp_path, expected)
    assert [str(left) for left in discover([tmp_path]).left_out] == [f"{tmp_path}/IM0000.dcm is a localizer"]


@pytest.mark.parametrize(
    ("what", "tags"),
    [
        ("a DICOM MR image", {"Modality": "MR"}),
        ("a DICOM colour image", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
        ("a DICOM secondary capture", {"SOPClassUID": f"{UID.removesuffix('.1.2')}.5.1.4.1.1.7"}),
        ("a DICOM report", {"SOPClassUID": f"{UID.removesuffix('.1.2')}.5.1.4.1.1.88.67", "Modality": "SR"}),
    ],
)
def test_what_is_no_ct_is_left_out_and_named(tmp_path: Path, what: str, tags: dict[str, object]) -> None:
    expected = series(tmp_path / "ct")
    for number in range(2):
        other_image(tmp_path / "else" / f"{number}.dcm", **tags)
    read_as(tmp_path, expected)
    (left,) = discover([tmp_path]).left_out
    assert left.path == tmp_path / "else"
    assert left.reason.startswith(f"holds 2 {what.removeprefix('a ')}s (0.dcm to 1.dcm)")
    with pytest.raises(ScanError, match="no CT series"):
        read_volume(tmp_path / "else")
    with pytest.raises(ScanError, match=f"it is {what}"):
        read_volume(tmp_path / "else" / "0.dcm")


def test_two_orientations_under_one_uid_are_two_series(tmp_path: Path) -> None:
    expected = series(tmp_path)
    sagittal = put(
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=lambda index: [STEP * index, -20, 100]
    )
    series(tmp_path, hounsfield(seed=1), sagittal, names=lambda index: f"A{index}.dcm")
    read_as(tmp_path, expected)


def test_an_index_a_dead_link_and_damage_beside_a_series(tmp_path: Path) -> None:
    expected = series(tmp_path / "ct")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(200))
    (tmp_path / "ct" / "gone.dcm").symlink_to(tmp_path / "nowhere.dcm")
    (tmp_path / "ct" / "bad.dcm").write_bytes(bytes(128) + b"DICM" + bytes(10))
    read_as(tmp_path, expected)
    reasons = {left.path.name: left.reason for left in discover([tmp_path]).left_out}
    assert reasons["bad.dcm"].startswith("is a damaged DICOM file")
    assert reasons["gone.dcm"].startswith("is a dead link")
    assert set(reasons) == {"bad.dcm", "gone.dcm"}


def test_a_slice_without_a_position_among_others_is_left_out_and_listed(tmp_path: Path) -> None:
    def change(index: int, made: Dataset) -> None:
        if index == 3:
            del made.ImagePositionPatient

    expected = series(tmp_path, None, change)
    volume = read_as(tmp_path, np.delete(expected, 4, axis=0))
    assert (volume.missing, volume.orientation_known) == (1, True)
    assert [left.path.name for left in discover([tmp_path]).left_out] == ["IM0004.dcm"]


def test_without_positions_the_slice_location_orders_and_the_end_is_assumed(tmp_path: Path) -> None:
    expected = series(tmp_path, None, put(ImagePositionPatient=None, InstanceNumber=1))
    volume = read_as(tmp_path, expected)
    assert not volume.orientation_known
    assert "ordered by slice location" in volume.notes[0]


def test_without_positions_and_locations_the_instance_number_orders(tmp_path: Path) -> None:
    series(tmp_path, None, put(ImagePositionPatient=None, SliceLocation=None, InstanceNumber=lambda index: 8 - index))
    volume = read_as(tmp_path, grey(hounsfield())[::-1])
    assert not volume.orientation_known


def test_without_anything_to_order_by_a_series_is_refused(tmp_path: Path) -> None:
    series(tmp_path, None, put(ImagePositionPatient=None, SliceLocation=None, InstanceNumber=None))
    with pytest.raises(ScanError, match=r"the order of the slices of .* is not known"):
        read_volume(tmp_path)


def test_without_an_orientation_axial_slices_are_assumed(tmp_path: Path) -> None:
    expected = series(tmp_path, None, put(ImageOrientationPatient=None))
    assert not read_as(tmp_path, expected).orientation_known


def test_without_a_pixel_spacing_the_spacing_is_unknown(tmp_path: Path) -> None:
    read_as(tmp_path, series(tmp_path, None, put(PixelSpacing=None)), spacing=None)


def test_a_transfer_syntax_that_is_not_read_is_named(tmp_path: Path) -> None:
    series(tmp_path)
    for file in tmp_path.iterdir():
        content = file.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.")
        file.write_bytes(content.replace(b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.9\0"))
    with pytest.raises(ScanError, match=r"a transfer syntax that is not read \(1.2.840.10008.1.2.9\)"):
        read_volume(tmp_path)


def test_one_slice_is_no_scan(tmp_path: Path) -> None:
    series(tmp_path / "a")
    series(tmp_path / "b", None, put(StudyInstanceUID="5.5"), indices=[0])
    found = discover([tmp_path])
    assert found.scans == [tmp_path / "a"]
    assert "holds 1 CT slice" in found.left_out[0].reason
    assert found.left_out[0].is_scan


def test_an_unrescaled_series_is_corrected_or_refused(real_ct: Path, tmp_path: Path) -> None:
    import SimpleITK

    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(real_ct / "uiip1.nii.gz")))[::6]
    values = np.rint(image).clip(-1024, 3000).astype(np.int16)
    series(tmp_path / "a", values)
    unrescaled = put(RescaleIntercept=0)
    series(tmp_path / "b", values + np.int16(1024), unrescaled)
    first, second = (read_volume(tmp_path / name) for name in "ab")
    assert np.array_equal(first.voxels, second.voxels)
    assert second.notes == ("values 1024 too high for Hounsfield units: corrected",)


@pytest.fixture
def read_count(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    import pydicom

    reads: list[object] = []
    original = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **kwargs: reads.append(args) or original(*args, **kwargs))
    return lambda: len(reads)


def test_each_header_is_read_once(tmp_path: Path, read_count: Callable[[], int]) -> None:
    for number in range(3):
        series(tmp_path / f"P{number}", None, put(StudyInstanceUID=f"1.{number}"))
    scans = discover([tmp_path]).scans
    assert [scan.name for scan in scans] == ["P0", "P1", "P2"]
    for scan in scans:
        read_volume(scan)
    assert read_count() == 24
