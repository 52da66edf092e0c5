"""NRRD, PNG slices and zips; one scan in every format; and a format that a stranger adds."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from cov3d.errors import ScanError
from cov3d.readers import discover, find_scans, read_volume, registry
from cov3d.readers.registry import Format
from cov3d.volume import Volume
from tests.conftest import write_slices
from tests.readers import dicom_files
from tests.readers.test_image import ORIENTATIONS, SPACING, grey, hounsfield, image, write


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_nrrd_gives_the_same_grey_levels(tmp_path: Path, dtype: str, compress: bool) -> None:
    values = hounsfield(dtype=dtype)
    for name in ("a.nrrd", "b.nhdr"):
        volume = read_volume(write(tmp_path / name, values, compress))
        assert np.array_equal(volume.voxels, grey(values))
        assert volume.spacing == pytest.approx(SPACING)
        assert (volume.format, volume.orientation_known, volume.notes) == ("NRRD", True, ())
    assert find_scans([tmp_path]) == [tmp_path / "a.nrrd", tmp_path / "b.nhdr"]


def test_all_orientations_in_nrrd_give_one_volume(tmp_path: Path) -> None:
    values = hounsfield()
    for letters in ORIENTATIONS[::5]:
        turned = SimpleITK.DICOMOrient(image(values), letters)
        assert np.array_equal(read_volume(write(tmp_path / f"{letters}.nrrd", turned)).voxels, grey(values)), letters


def nrrd(file: Path, values: NDArray, *fields: str, end: bytes = b"") -> Path:
    sizes = " ".join(map(str, values.shape[::-1]))
    lines = ["NRRD0004", "type: short", f"dimension: {values.ndim}", f"sizes: {sizes}", "endian: little", *fields]
    file.write_bytes("\n".join(lines).encode() + b"\n\n" + end + values.astype("<i2").tobytes())
    return file


def test_nrrd_spaces_differ_in_the_directions_of_their_axes(tmp_path: Path) -> None:
    values = hounsfield()
    rows = "space directions: ({},0,0) (0,{},0) (0,0,{})"
    for space, signs in (("LPS", "++-"), ("right-anterior-superior", "---"), ("left-anterior-superior", "+--")):
        steps = [sign + size for sign, size in zip(signs, ("0.5", "0.75", "2.5"), strict=True)]
        file = nrrd(tmp_path / "a.nrrd", values, "encoding: raw", f"space: {space}", rows.format(*steps))
        assert np.array_equal(read_volume(file).voxels, grey(values)), space


def test_nrrd_without_a_space_has_an_assumed_orientation(tmp_path: Path) -> None:
    volume = read_volume(nrrd(tmp_path / "a.nrrd", hounsfield(), "encoding: raw", "spacings: 0.5 0.75 2.5"))
    assert (volume.orientation_known, volume.spacing) == (False, pytest.approx(SPACING))
    volume = read_volume(nrrd(tmp_path / "a.nrrd", hounsfield(), "encoding: raw"))
    assert (volume.orientation_known, volume.spacing) == (False, None)


def test_nrrd_skips_bytes_and_counts_from_the_end(tmp_path: Path) -> None:
    values = hounsfield()
    for skip in ("10", "-1"):
        file = nrrd(tmp_path / "a.nrrd", values, "encoding: raw", f"byte skip: {skip}", end=b"0123456789")
        assert np.array_equal(read_volume(file).voxels[::-1], grey(values))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (["encoding: bzip2"], "stored as 'bzip2'"),
        (["encoding: ascii"], "stored as 'ascii'"),
        (["encoding: raw", "data file: /etc/passwd"], "not beside it"),
        (["encoding: raw", "data file: ../x.raw"], "not beside it"),
        (["encoding: raw", "data file: LIST"], "many files"),
        (["encoding: raw", "kinds: RGB-color domain domain"], "colours or vectors"),
        ([], "damaged"),
    ],
)
def test_nrrd_that_is_not_read_says_why(tmp_path: Path, fields: list[str], sentence: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    with pytest.raises(ScanError, match=sentence):
        read_volume(nrrd(tmp_path / "in" / "a.nrrd", hounsfield((3, 3, 3)), *fields))


def test_damage_in_an_nrrd_is_an_error_and_never_voxels(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nrrd", hounsfield((9, 20, 20)), compress=True)
    content = file.read_bytes()
    for at in range(content.index(b"\n\n") + 20, len(content), 211):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with pytest.raises(ScanError, match=r"truncated or damaged|damaged"):
            read_volume(file)
    for length in (30, len(content) // 2, len(content) - 9):
        file.write_bytes(content[:length])
        with pytest.raises(ScanError):
            read_volume(file)


def pngs(folder: Path, planes: NDArray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(planes, start=1):
        Image.fromarray(plane).save(folder / f"slice_{number}.png")
    return folder


def test_png_slices_of_8_bits_are_the_window(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 255, (12, 16, 24), dtype=np.uint8)
    pngs(tmp_path / "P1", levels)
    assert find_scans([tmp_path]) == [tmp_path / "P1"]
    volume = read_volume(tmp_path / "P1")
    assert np.array_equal(volume.voxels, levels)
    assert (volume.format, volume.window_known, volume.orientation_known) == ("PNG slices", False, False)
    assert volume.notes == ()


def test_png_slices_missing_and_damaged_are_counted(tmp_path: Path) -> None:
    pngs(tmp_path, np.full((9, 16, 16), 90, dtype=np.uint8))
    (tmp_path / "slice_3.png").unlink()
    (tmp_path / "slice_5.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    volume = read_volume(tmp_path)
    assert (len(volume.voxels), volume.missing, volume.corrupt, volume.slices_found) == (7, 1, 1, 8)


def chest() -> NDArray[np.int16]:
    """Air, lung, fat, soft tissue, each with noise."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(mean, 12, (6, 40, 60)) for mean in (-1000, -850, -100, 45)], axis=1)
    return np.rint(values).astype(np.int16)


@pytest.mark.parametrize("zero", [32768, 1024])
def test_16_bit_png_slices_of_hounsfield_units_are_recognised(tmp_path: Path, zero: int) -> None:
    stored = (chest().astype(np.int32) + zero).clip(0).astype(np.uint16)
    volume = read_volume(pngs(tmp_path, stored))
    assert np.array_equal(volume.voxels, grey(stored.astype(np.int32) - zero))
    assert volume.window_known


def test_16_bit_png_slices_of_the_full_range_are_the_window(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65535, (6, 24, 24), dtype=np.uint16)
    volume = read_volume(pngs(tmp_path, levels))
    assert np.array_equal(volume.voxels, np.rint(levels / 257).astype(np.uint8))
    assert not volume.window_known


def test_16_bit_png_slices_of_unknown_meaning_are_refused_with_the_numbers(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(100, 900, (6, 24, 24), dtype=np.uint16)
    with pytest.raises(ScanError, match="16-bit PNG slices with values from 100 to 899"):
        read_volume(pngs(tmp_path, levels))


def test_pictures_and_thumbnails_are_no_patients(tmp_path: Path) -> None:
    write_slices(tmp_path / "P1", np.full((5, 16, 16), 90, dtype=np.uint8))
    pngs(tmp_path / "P1" / "thumbnails", np.full((5, 8, 8), 90, dtype=np.uint8))
    (tmp_path / "figures").mkdir()
    for name in ("loss.png", "curve.png"):
        Image.new("L", (8, 8)).save(tmp_path / "figures" / name)
    found = discover([tmp_path])
    assert found.scans == [tmp_path / "P1"]
    assert [left.path.name for left in found.left_out] == ["thumbnails", "figures"]
    assert not any(left.is_scan for left in found.left_out)


def zip_of(file: Path, folder: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return file


@pytest.mark.parametrize("what", ["jpeg", "png", "nifti", "mhd", "nrrd", "dicom", "dicom without endings"])
def test_a_zip_is_read_as_what_is_in_it(tmp_path: Path, what: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    if what == "jpeg":
        write_slices(inside / "ct", np.full((5, 16, 16), 90, dtype=np.uint8))
    elif what == "png":
        pngs(inside, np.full((5, 16, 16), 90, dtype=np.uint8))
    elif what.startswith("dicom"):
        dicom_files.series(inside / "a" / "b", names=lambda index: f"IM{index}" + ".dcm" * (what == "dicom"))
    else:
        write(inside / {"nifti": "a.nii.gz", "mhd": "a.mhd", "nrrd": "a.nrrd"}[what], hounsfield())
    (inside / "__MACOSX").mkdir()
    (inside / "__MACOSX" / "._1.jpg").write_bytes(b"x")
    expected = read_volume(find_scans([inside])[0])
    (tmp_path / "zips").mkdir()
    file = zip_of(tmp_path / "zips" / "P1.zip", inside)
    assert find_scans([tmp_path / "zips"]) == [file]
    volume = read_volume(file)
    assert np.array_equal(volume.voxels, expected.voxels)
    assert (volume.path, volume.spacing) == (file, expected.spacing)
    assert volume.format == f"{expected.format} in a zip"
    assert list((tmp_path / "zips").iterdir()) == [file]


def test_a_zip_beside_what_it_holds_is_not_read_twice(tmp_path: Path) -> None:
    write(tmp_path / "P1.nii.gz", hounsfield())
    with zipfile.ZipFile(tmp_path / "P1.zip", "w") as archive:
        archive.write(tmp_path / "P1.nii.gz", "P1.nii.gz")
    assert find_scans([tmp_path]) == [tmp_path / "P1.nii.gz"]


@pytest.mark.parametrize("name", ["../evil.nii", "/evil.nii", "a/../../evil.nii", "..\\evil.nii", "C:\\evil.nii"])
def test_a_zip_that_writes_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ok.nii", b"x")
        archive.writestr(name, b"x")
    with pytest.raises(ScanError, match="outside its folder"):
        read_volume(file)
    write_slices(tmp_path / "P1", np.full((5, 16, 16), 90, dtype=np.uint8))
    (left,) = discover([tmp_path]).left_out
    assert left.path == file
    assert "outside its folder" in left.reason


def test_a_zip_bomb_and_a_link_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"{number}.nii", bytes(1 << 20))
    with pytest.raises(ScanError, match="refused as a zip bomb"):
        read_volume(file)
    link = zipfile.ZipInfo("a.nii")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ScanError, match="holds a link"):
        read_volume(tmp_path / "link.zip")


def test_a_zip_that_is_no_scan_says_why(tmp_path: Path) -> None:
    write_slices(tmp_path / "in" / "P1", np.full((5, 16, 16), 90, dtype=np.uint8))
    write_slices(tmp_path / "in" / "P2", np.full((5, 16, 16), 90, dtype=np.uint8))
    (tmp_path / "zips").mkdir()
    two = zip_of(tmp_path / "zips" / "two.zip", tmp_path / "in")
    with pytest.raises(ScanError, match=r"two\.zip holds 2 scans: unpack it"):
        read_volume(two)
    broken = tmp_path / "zips" / "broken.zip"
    broken.write_bytes(two.read_bytes()[:-30])
    with pytest.raises(ScanError, match=r"broken\.zip is truncated or damaged"):
        read_volume(broken)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("code.py", "pass")
    (tmp_path / "zips" / "code.zip").write_bytes(stream.getvalue())
    reasons = {left.path.name: left for left in discover([tmp_path / "zips"]).left_out}
    assert set(reasons) == {"broken.zip", "code.zip"}
    assert not reasons["code.zip"].is_scan
    assert reasons["broken.zip"].is_scan


def test_a_zip_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.nii", hounsfield())
    (tmp_path / "out").mkdir()
    zip_of(tmp_path / "out" / "inner.zip", tmp_path / "in")
    with pytest.raises(ScanError, match="no scan found"):
        read_volume(zip_of(tmp_path / "outer.zip", tmp_path / "out"))


def test_the_temporary_folder_of_a_zip_is_in_no_message(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").write_bytes(b"damaged" * 100)
    with pytest.raises(ScanError) as error:
        read_volume(zip_of(tmp_path / "a.zip", tmp_path / "in"))
    assert f"{tmp_path / 'a.zip'}/a.nii" in str(error.value)
    assert "/cov3d-" not in str(error.value)


def test_a_stranger_adds_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object with a suffix and a function is all: it is found, read, and named where it is missing."""

    def read(file: Path, threads: int) -> Volume:
        return Volume(np.full((2, 4, 4), int(file.read_text()), dtype=np.uint8), file, 2, format="Toy")

    (tmp_path / "P1.toy").write_text("7")
    with pytest.raises(ScanError, match="no scan"):
        find_scans([tmp_path])
    monkeypatch.setattr(registry, "_FORMATS", [*registry.formats(), Format("Toy", read, suffixes=(".toy",))])
    (scan,) = find_scans([tmp_path])
    assert read_volume(scan).voxels[0, 0, 0] == 7
    with pytest.raises(ScanError, match=r"\.toy"):
        find_scans([(tmp_path / "a.txt", (tmp_path / "a.txt").write_text("x"))[0]])
