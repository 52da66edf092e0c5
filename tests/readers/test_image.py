"""Single-file scans: orientation, window, spacing, and what is refused."""

import gzip
import struct
from contextlib import suppress
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers import read_volume
from cov3d.readers.array import volume_of_array
from tests.conftest import write_slices

SPACING = (2.5, 0.75, 0.5)
"""Along depth, height and width."""
CANONICAL = (1, 0, 0, 0, 1, 0, 0, 0, -1)
"""Directions of width, height and depth, as SimpleITK has them: the patient's left, back and feet."""


def hounsfield(shape: tuple[int, int, int] = (5, 6, 7), dtype: str = "int16") -> NDArray:
    """Values within the window, each different from its neighbours, so that no axis can pass for another."""
    return np.random.default_rng(0).integers(-1100, 300, shape).astype(dtype)


def grey(values: NDArray) -> NDArray[np.uint8]:
    """The contract of a Volume, said anew: -1150 HU is 0, 350 HU is 255."""
    return np.clip(np.rint((values.astype(np.float64) + 1150) / 1500 * 255), 0, 255).astype(np.uint8)


def image(values: NDArray, direction: tuple[float, ...] = CANONICAL) -> SimpleITK.Image:
    """Values (depth, height, width), slice 0 at the head, as an image that says so."""
    made = SimpleITK.GetImageFromArray(values)
    made.SetSpacing(SPACING[::-1])
    made.SetDirection(direction)
    return made


def write(file: Path, made: SimpleITK.Image | NDArray, compress: bool = False) -> Path:
    made = made if isinstance(made, SimpleITK.Image) else image(made)
    SimpleITK.WriteImage(made, str(file), useCompression=compress)
    return file


ORIENTATIONS = [
    "".join(letters)
    for axes in permutations(("RL", "AP", "IS"))
    for letters in product(*axes)
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".nii", ".mha"])
def test_all_48_orientations_of_one_scan_give_one_volume(tmp_path: Path, suffix: str) -> None:
    values = hounsfield()
    assert len(ORIENTATIONS) == 48
    for letters in ORIENTATIONS:
        turned = SimpleITK.DICOMOrient(image(values), letters)
        volume = read_volume(write(tmp_path / f"{letters}{suffix}", turned))
        assert np.array_equal(volume.voxels, grey(values)), letters
        assert volume.spacing == pytest.approx(SPACING), letters
        assert (volume.slices_found, volume.notes) == (5, ()), letters


def test_the_identity_of_dicom_runs_from_the_feet_up(tmp_path: Path) -> None:
    """A file as most are: its third axis goes to the head, so the first slice of the file is the last of the volume."""
    values = hounsfield()
    file = write(tmp_path / "a.nii.gz", image(values, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    assert np.array_equal(read_volume(file).voxels, grey(values)[::-1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".NII.GZ", ".MHA"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "float32", "float64"])
def test_every_container_and_type_gives_the_same_grey_levels(
    tmp_path: Path, suffix: str, compress: bool, dtype: str
) -> None:
    values = hounsfield(dtype=dtype)
    written = write(tmp_path / f"a{suffix.lower()}", values, compress)
    file = written.rename(tmp_path / f"a{suffix}")
    volume = read_volume(file)
    assert np.array_equal(volume.voxels, grey(values))
    assert volume.voxels.flags.c_contiguous
    assert volume.path == file


def test_the_window_is_rounded_clipped_and_padding_is_air(tmp_path: Path) -> None:
    values = hounsfield()
    by_hand = {
        # (HU + 1150) x 0.17, rounded
        -1150: 0, -1148: 0, -1147: 1, -1000: 26, -500: 110, 0: 196, 40: 202, 349: 255, 350: 255,
        -1151: 0, -2000: 0, -3024: 0, -32768: 0, 351: 255, 3071: 255, 32767: 255,
    }  # fmt: skip
    values.ravel()[: len(by_hand)] = list(by_hand)
    voxels = read_volume(write(tmp_path / "a.mha", values)).voxels
    assert voxels.ravel()[: len(by_hand)].tolist() == list(by_hand.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.floats(-4000, 4000, width=32))
def test_any_value_lands_within_half_a_grey_level_of_where_it_belongs(tmp_path: Path, value: float) -> None:
    values = hounsfield(dtype="float32")
    values[2, 3, 4] = value
    found = float(read_volume(write(tmp_path / "a.nii", values)).voxels[2, 3, 4])
    assert found == pytest.approx(np.clip((value + 1150) * 0.17, 0, 255), abs=0.5001)


def patched(file: Path, *changes: tuple[int, str, float]) -> Path:
    """Change fields of a NIfTI-1 header in place: (offset, format, value)."""
    content = bytearray(file.read_bytes())
    for offset, kind, value in changes:
        struct.pack_into(f"<{kind}", content, offset, value)
    file.write_bytes(bytes(content))
    return file


SLOPE, INTERCEPT, PIXDIM, SFORM, QFORM, UNITS, DIM, DATATYPE = 112, 116, 76, 254, 252, 123, 40, 70


def test_slope_and_intercept_of_the_header_are_applied(tmp_path: Path) -> None:
    values = hounsfield()
    stored = ((values + 1100) // 2).astype(np.int16)
    file = patched(write(tmp_path / "a.nii", stored), (SLOPE, "f", 2.0), (INTERCEPT, "f", -1100.0))
    assert np.array_equal(read_volume(file).voxels, grey(stored.astype(float) * 2 - 1100))


def test_nifti_of_the_other_byte_order_and_of_version_2_is_read(tmp_path: Path) -> None:
    import nibabel

    values = hounsfield()
    affine = np.diag([-0.5, -0.75, -2.5, 1.0])  # to the left, the back and the feet
    for kind, endian in ((nibabel.Nifti1Image, ">"), (nibabel.Nifti2Image, "<")):
        header = kind.header_class(endianness=endian)
        header.set_data_dtype(np.dtype("int16").newbyteorder(endian))
        nibabel.save(kind(values.T, affine, header), tmp_path / "a.nii")
        volume = read_volume(tmp_path / "a.nii")
        assert np.array_equal(volume.voxels, grey(values))
        assert volume.spacing == pytest.approx(SPACING)


def test_a_header_without_orientation_or_distances_is_reported(tmp_path: Path) -> None:
    file = patched(write(tmp_path / "a.nii", hounsfield()), (SFORM, "h", 0), (QFORM, "h", 0))
    assert "holds no orientation" in read_volume(file).notes[0]
    file = write(tmp_path / "a.mha", hounsfield())
    bare = b"\n".join(
        line for line in file.read_bytes().split(b"\n") if not line.startswith((b"TransformM", b"ElementSp"))
    )
    file.write_bytes(bare)
    volume = read_volume(file)
    assert volume.spacing is None
    assert len(volume.notes) == 2


def test_units_of_the_header_are_followed_and_what_they_make_of_it_must_be_possible(tmp_path: Path) -> None:
    metres, micrometres = 1, 3
    file = patched(write(tmp_path / "a.nii", hounsfield()), (UNITS, "b", metres))
    volume = read_volume(file)
    assert volume.spacing is None
    assert volume.notes == ("spacing left unknown: 2500 x 750 x 500 mm can't be a CT's",)
    made = image(hounsfield())
    made.SetSpacing([1000 * step for step in made.GetSpacing()])
    file = patched(write(tmp_path / "b.nii", made), (UNITS, "b", micrometres))
    assert read_volume(file).spacing == pytest.approx(SPACING)


@pytest.mark.parametrize(("degrees", "notes"), [(2, 0), (15, 1), (40, 1)])
def test_oblique_axes_go_to_the_nearest_and_are_noted(tmp_path: Path, degrees: float, notes: int) -> None:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilted = np.array([[1, 0, 0], [0, cos, sin], [0, sin, -cos]])
    values = hounsfield()
    for name in ("a.nii", "a.mha"):
        volume = read_volume(write(tmp_path / name, image(values, tuple(tilted.ravel()))))
        assert np.array_equal(volume.voxels, grey(values))
        assert volume.spacing == pytest.approx(SPACING)
        assert len(volume.notes) == notes
        assert all(f"{degrees} degrees off" in note for note in volume.notes)


def test_one_volume_in_a_file_of_four_axes_is_read_and_two_are_refused(tmp_path: Path) -> None:
    values = hounsfield()
    for suffix in (".nii", ".mha"):
        one = SimpleITK.JoinSeries([image(values)])
        assert np.array_equal(read_volume(write(tmp_path / f"one{suffix}", one)).voxels, grey(values))
        two = SimpleITK.JoinSeries([image(values), image(values)])
        with pytest.raises(ScanError, match="holds 2 volumes"):
            read_volume(write(tmp_path / f"two{suffix}", two))


@pytest.mark.parametrize("suffix", [".nii", ".mha"])
def test_pictures_colours_and_vectors_are_refused(tmp_path: Path, suffix: str) -> None:
    values = hounsfield()
    flat = SimpleITK.GetImageFromArray(values[0])
    with pytest.raises(ScanError, match="picture of two dimensions"):
        read_volume(write(tmp_path / f"flat{suffix}", flat))
    vector = SimpleITK.Compose(image(values), image(values), image(values))
    with pytest.raises(ScanError, match=r"colours or vectors|holds 3 volumes"):
        read_volume(write(tmp_path / f"vector{suffix}", vector))


@pytest.mark.parametrize(
    ("values", "lacking"),
    [
        (np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(np.uint8), "0 to 1, no gas"),  # a mask
        (np.random.default_rng(0).integers(0, 256, (5, 6, 7)).astype(np.uint8), "no gas"),  # windowed already
        (hounsfield() + np.int16(1124), "1000 too high"),  # an intercept left out
        (hounsfield(dtype="float32") / 1500, "no gas"),  # normalised
        (hounsfield() - np.int16(1500), "1000 too low"),  # an intercept applied twice
        (np.zeros((5, 6, 7), np.int16), "0 to 0, no gas"),
        (np.full((5, 6, 7), -1000, np.int16), "-1000 to -1000, no tissue"),
        (np.full((5, 6, 7), np.nan, np.float32), "no gas|no tissue"),
    ],
)
def test_what_is_not_in_hounsfield_units_is_refused(tmp_path: Path, values: NDArray, lacking: str) -> None:
    with pytest.raises(ScanError, match=f"not in Hounsfield units.*({lacking})"):
        read_volume(write(tmp_path / "a.nii.gz", values))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize(
    ("gas", "tissue", "lacking"),
    [(-1147, 347, ""), (-301, -200, ""), (-1148, 40, "no gas"), (-300, 40, "no gas"), (-800, 348, "no tissue")],
)
def test_padding_and_clipped_values_are_neither_gas_nor_tissue(dtype: str, gas: int, tissue: int, lacking: str) -> None:
    values = np.repeat(np.array([gas, tissue], dtype), 105).reshape(5, 6, 7)
    if not lacking:
        assert volume_of_array(values).notes == ()
        return
    with pytest.raises(ScanError, match=lacking):
        volume_of_array(values)


def test_voxels_without_a_number_become_air_and_are_counted(tmp_path: Path) -> None:
    values = hounsfield(dtype="float32")
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = read_volume(write(tmp_path / "a.nii", values))
    assert volume.voxels[0, 0, :3].tolist() == [0, 0, 0]
    assert np.array_equal(volume.voxels[1:], grey(values[1:]))
    assert volume.notes == ("3 voxels without a number taken as air",)


def test_text_in_the_header_is_in_no_note(tmp_path: Path) -> None:
    made = image(hounsfield(dtype="float32"))
    made.SetMetaData("PatientName", "Jane Roe")
    file = write(tmp_path / "a.mha", made)
    assert b"Jane Roe" in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(b"TransformMatrix", b"NoMatrix"))
    assert "Jane" not in "".join(read_volume(file).notes)
    file.write_bytes(file.read_bytes().replace(b"DimSize = ", b"DimSize = Jane "))
    with pytest.raises(ScanError) as error:
        read_volume(file)
    assert "Jane" not in str(error.value)


def spoil(content: bytes, how: str) -> bytes:
    half = len(content) // 2
    return {
        "empty": b"",
        "text": b"once upon a time\n" * 40,
        "half": content[:half],
        "all but a byte": content[:-1],
        "overwritten": content[:half] + bytes(40) + content[half + 40 :],
    }[how]


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
@pytest.mark.parametrize("how", ["empty", "text", "half", "all but a byte", "overwritten"])
def test_a_damaged_compressed_file_is_never_a_scan(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, how: str
) -> None:
    file = write(tmp_path / f"a{suffix}", hounsfield((9, 20, 20)), compress=True)
    file.write_bytes(spoil(file.read_bytes(), how))
    with pytest.raises(ScanError, match=r"truncated|damaged") as error:
        read_volume(file)
    assert str(file) in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".mhd"])
@pytest.mark.parametrize("how", ["empty", "text", "half", "all but a byte"])
def test_a_damaged_plain_file_is_never_a_scan(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, how: str
) -> None:
    file = write(tmp_path / f"a{suffix}", hounsfield((9, 20, 20)))
    data = file.with_suffix(".raw") if suffix == ".mhd" else file
    data.write_bytes(spoil(data.read_bytes(), how))
    if suffix == ".mhd" and how == "text":  # nothing tells text from voxels but their number
        data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ScanError, match=r"truncated|damaged"):
        read_volume(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((DIM, "h", 2), "two dimensions"),
        ((DIM + 6, "h", -5), "7 x 6 x -5 voxels"),
        ((DIM + 6, "h", 30000), "truncated"),
        ((DATATYPE, "h", 9999), "no known type"),
        ((DATATYPE, "h", 32), "colours or vectors"),
        ((344, "h", 0), "not a NIfTI file"),
    ],
)
def test_a_damaged_nifti_header_is_refused_in_a_sentence(
    tmp_path: Path, change: tuple[int, str, float], sentence: str
) -> None:
    file = patched(write(tmp_path / "a.nii", hounsfield()), change)
    with pytest.raises(ScanError, match=sentence):
        read_volume(file)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"ElementSpacing = 0.5", b"ElementSpacing = 0", "distance or direction of its voxels is zero"),
        (b"ElementSpacing = 0.5", b"ElementSpacing = nan", "zero or not a number"),
        (b"ElementSpacing = 0.5", b"ElementSpacing = x", "header of .* is damaged"),
        (b"ElementSpacing = 0.5", b"ElementSpacing =", "header of .* is damaged"),
        (b"TransformMatrix = 1", b"TransformMatrix = 0", "distance or direction of its voxels is zero"),
        (b"DimSize = 7 6 5", b"DimSize = 7 6 0", "7 x 6 x 0 voxels"),
        (b"DimSize = 7 6 5", b"DimSize = 7 6", "header of .* is damaged"),
        (b"DimSize = 7 6 5", b"DimSize = 7 6 500000", "truncated"),
        (b"MET_SHORT", b"MET_STRING", "no known type"),
        (b"LOCAL", b"gone.raw", "which is not beside it"),
        (b"LOCAL", b"LIST\n1.raw\n2.raw", "spread over many files"),
        (b"BinaryData = True", b"BinaryData = False", "written as text"),
    ],
)
def test_a_damaged_metaimage_header_is_refused_in_a_sentence(
    tmp_path: Path, old: bytes, new: bytes, sentence: str
) -> None:
    file = write(tmp_path / "a.mha", hounsfield())
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))
    with pytest.raises(ScanError, match=sentence):
        read_volume(file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".nii", ".mha", ".nii.gz"]))
def test_bytes_changed_anywhere_give_a_volume_or_a_sentence(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    plain = write(tmp_path / f"a{suffix.removesuffix('.gz')}", hounsfield()).read_bytes()
    content = bytearray(plain)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    file = tmp_path / f"b{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with suppress(ScanError):
        assert read_volume(file).voxels.size > 0


@pytest.mark.parametrize("name", ["chest.nii.gz", "chest.mha"])
def test_a_real_scan_equals_its_own_jpegs(real_ct: Path, name: str) -> None:
    volume = read_volume(real_ct / name)
    jpegs = read_volume(real_ct / "chest_jpeg" / "ct_scan_1").voxels
    averaged = jpegs.reshape(79, 64, 8, 64, 8).mean(axis=(2, 4))  # the JPEGs are eight times as fine
    assert np.abs(averaged - volume.voxels).mean() < 3
    for axis in range(3):
        assert np.abs(averaged - np.flip(volume.voxels, axis)).mean() > 10
    assert volume.spacing == pytest.approx((3.987, 4.172, 4.172), abs=0.001)


def test_a_real_label_map_is_refused(real_ct: Path) -> None:
    with pytest.raises(ScanError, match=r"0 to 1, no gas.*label maps"):
        read_volume(real_ct / "chest_lungs.nii.gz")


def test_the_same_scan_as_jpegs_and_as_a_file_is_the_same_volume(tmp_path: Path) -> None:
    values = np.full((4, 16, 16), -850, np.int16)
    values[:, :8, 4:] = 50
    values[0] = -1000
    write_slices(tmp_path / "jpeg", grey(values))
    file = write(tmp_path / "a.nii.gz", values)
    difference = read_volume(tmp_path / "jpeg").voxels.astype(int) - read_volume(file).voxels
    assert np.abs(difference).max() <= 12
    assert np.abs(difference).mean() < 1


@pytest.fixture(scope="module")
def chest_hu() -> NDArray[np.int16]:
    """A phantom in Hounsfield units, with dense bone, which the window of a phantom cuts off."""
    from cov3d.phantom.scan import make_scan

    voxels = make_scan(3, number=1, resolution=128, slices=24).voxels.astype(np.float32)
    values = np.rint(voxels * 1500 / 255 - 1150).astype(np.int16)
    bone = values > 330
    values[bone] = np.random.default_rng(0).integers(330, 1400, int(bone.sum()))
    return values


def round_field(values: NDArray[np.int16], padding: int) -> NDArray[np.int16]:
    rows, columns = (np.linspace(-1, 1, length) for length in values.shape[1:])
    outside = rows[:, np.newaxis] ** 2 + columns**2 > 1
    return np.where(outside, np.int16(padding), values)


@pytest.mark.parametrize("padding", [None, -1000, -1024, -2000, -3024])
def test_padding_is_not_taken_for_a_shift(tmp_path: Path, chest_hu: NDArray[np.int16], padding: int | None) -> None:
    values = chest_hu if padding is None else round_field(chest_hu, padding)
    assert np.array_equal(read_volume(write(tmp_path / "scan.nii", values)).voxels, grey(values))


SHIFTS = (1000, 1024, -1000, -1024)
PADDINGS = (None, 0, -1000, -1024, -2000, -3024)


def corrected_or_refused(file: Path, values: NDArray, shift: int, inside: NDArray[np.bool_]) -> bool:
    """Whether values, less the shift that they were given, are read as if they had none; False if they are refused."""
    try:
        volume = read_volume(file)
    except ScanError:
        return False
    assert np.array_equal(volume.voxels[inside], grey(values)[inside])
    assert any(note.startswith(f"values {abs(shift)} too {'high' if shift > 0 else 'low'}") for note in volume.notes)
    return True


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_shifted_hounsfield_units_are_corrected_or_refused_whatever_the_padding(
    tmp_path: Path, chest_hu: NDArray[np.int16], shift: int, padding: int | None
) -> None:
    values = chest_hu + np.int16(shift)
    inside = np.ones(values.shape, dtype=bool) if padding is None else round_field(np.ones_like(values), 0) == 1
    file = write(tmp_path / "scan.nii", values if padding is None else round_field(values, padding))
    corrected_or_refused(file, chest_hu, shift, inside)


@pytest.mark.parametrize("name", ["chest.nii.gz", "uiip1.nii.gz", "aorta_crop.nii.gz", "abdomen.nii.gz"])
def test_real_ct_is_read_and_the_same_shifted_is_corrected_or_refused(real_ct: Path, tmp_path: Path, name: str) -> None:
    if not (real_ct / name).exists():
        pytest.skip(f"{name} is not here")
    original = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(real_ct / name)), "LPI")
    values = np.rint(SimpleITK.GetArrayFromImage(original)).clip(-5000, 5000).astype(np.int16)
    assert np.array_equal(read_volume(write(tmp_path / "scan.nii", values)).voxels, grey(values))
    corrected = 0
    for shift in SHIFTS:
        for padding in PADDINGS:
            inside = np.ones(values.shape, dtype=bool) if padding is None else round_field(np.ones_like(values), 0) == 1
            shifted = values + np.int16(shift) if padding is None else round_field(values + np.int16(shift), padding)
            corrected += corrected_or_refused(write(tmp_path / "scan.nii", shifted), values, shift, inside)
    assert corrected >= (0 if name.startswith("aorta") else 4)
    unrescaled = (values + 1024).clip(0)
    corrected_or_refused(
        write(tmp_path / "scan.nii", unrescaled), (unrescaled - 1024), 1024, np.ones(values.shape, bool)
    )


@pytest.mark.parametrize("pixdim", [0.0, np.nan])
def test_without_sform_distances_that_are_none_are_refused(tmp_path: Path, pixdim: float) -> None:
    file = write(tmp_path / "scan.nii", image(hounsfield()))
    content = bytearray(file.read_bytes())
    struct.pack_into("<f", content, PIXDIM + 12, pixdim)
    struct.pack_into("<h", content, 254, 0)  # sform_code
    file.write_bytes(content)
    with pytest.raises(ScanError, match="distance between its voxels is zero or not a number"):
        read_volume(file)


@pytest.mark.parametrize("pixdim", [0.0, np.nan])
def test_a_good_sform_makes_up_for_distances_that_are_none(tmp_path: Path, pixdim: float) -> None:
    """The sform holds the distances too; the field beside it is not needed."""
    file = write(tmp_path / "scan.nii", image(hounsfield()))
    wanted = read_volume(file)
    content = bytearray(file.read_bytes())
    struct.pack_into("<3f", content, 80, pixdim, pixdim, pixdim)  # pixdim[1:4]
    struct.pack_into("<h", content, 252, 0)  # qform_code
    file.write_bytes(content)
    volume = read_volume(file)
    assert np.array_equal(volume.voxels, wanted.voxels)
    assert volume.spacing == pytest.approx(wanted.spacing)
    assert volume.notes == ()


def test_negative_distances_beside_a_qform_alone_do_not_take_its_orientation_away(tmp_path: Path) -> None:
    file = write(tmp_path / "scan.nii", image(hounsfield()))
    wanted = read_volume(file)
    content = bytearray(file.read_bytes())
    struct.pack_into("<h", content, 254, 0)  # sform_code
    distances = struct.unpack_from("<3f", content, 80)
    struct.pack_into("<3f", content, 80, *(-distance for distance in distances))
    file.write_bytes(content)
    volume = read_volume(file)
    assert np.array_equal(volume.voxels, wanted.voxels)
    assert volume.notes == ()
