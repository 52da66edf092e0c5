"""Files that are not what their name says: read where that is safe, else named for what they are."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cov3d.errors import ScanError
from cov3d.readers import kinds, read_volume
from tests.conftest import write_slices
from tests.readers.test_image import grey, hounsfield, image, write

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html lang=fr><head><title>Connexion \xe9tudiant</title></head><body>login</body></html>"
ERROR = json.dumps({"error": {"code": 403, "message": "Forbidden"}}).encode()
ANNEX = b"../../.git/annex/objects/Xz/3k/MD5E-s1234--0f343b0931126a20f133d67c2b018a3b.nii.gz\n"


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("ct.nii", b"x" * 500)
    return stream.getvalue()


ELSE = {
    "lfs": (LFS, "Git LFS pointer", "run git lfs pull"),
    "page": (PAGE, "web page", "download it again, signed in"),
    "json": (ERROR, "JSON document", "download it again"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML document", "download it again"),
    "text": (b"404: Not Found\n", "text file", "download it again"),
    "annex": (ANNEX, "git-annex pointer", "git annex get"),
    "zip": (zipped(), "zip archive", "name it .zip, or unpack it"),
    "dicom": (bytes(128) + b"DICM" + bytes(300), "DICOM file", "name it .dcm"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(300), "HDF5 file", "save the scan as a .nii.gz or .mha file"),
    "pdf": (b"%PDF-1.7\n" + bytes(300), "PDF document", "give the scan itself"),
    "bzip2": (bz2.compress(b"x" * 500), "compressed by bzip2", "unpack it"),
    "xz": (lzma.compress(b"x" * 500), "compressed by xz", "unpack it"),
    "empty": (b"", "empty", "copy or download it again"),
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".mhd"])
@pytest.mark.parametrize("what", ELSE)
def test_a_file_that_is_something_else_is_named_for_what_it_is(tmp_path: Path, what: str, suffix: str) -> None:
    content, kind, advice = ELSE[what]
    file = tmp_path / f"P1{suffix}"
    file.write_bytes(content)
    with pytest.raises(ScanError) as error:
        read_volume(file)
    sentence = str(error.value)
    assert sentence.startswith(f"{file} is ")
    assert kind in sentence
    assert advice in sentence
    assert "copy the scan again" not in sentence


@pytest.mark.parametrize("what", ["lfs", "page", "zip", "empty"])
def test_the_voxels_of_an_mhd_may_be_something_else_too(tmp_path: Path, what: str) -> None:
    content, kind, advice = ELSE[what]
    file = write(tmp_path / "a.mhd", hounsfield((9, 20, 20)))
    (tmp_path / "a.raw").write_bytes(content)
    with pytest.raises(ScanError, match=f"a.raw is .*{kind}.*{advice}"):
        read_volume(file)


@pytest.mark.parametrize("what", ELSE)
def test_slices_that_are_something_else_are_named_for_what_they_are(tmp_path: Path, what: str) -> None:
    content, kind, advice = ELSE[what]
    for number in range(1, 13):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    with pytest.raises(ScanError) as error:
        read_volume(tmp_path)
    sentence = str(error.value)
    assert f"none of the 12 slices in {tmp_path} can be read as JPEG (12 are {kind}" in sentence
    assert advice in sentence
    assert "copy the scan again" not in sentence


def test_a_few_slices_that_are_something_else_are_named_in_the_note(tmp_path: Path) -> None:
    write_slices(tmp_path, np.full((9, 16, 16), 90, dtype=np.uint8))
    for number in (2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(LFS)
    (tmp_path / "7.jpg").write_bytes(b"")
    assert read_volume(tmp_path).notes == (
        "3 unreadable slices left out (2-3, 7): 2 are Git LFS pointers, 1 is empty, a truncated copy",
    )


@pytest.mark.parametrize(
    ("made", "name", "change", "note"),
    [
        ("a.nii", "b.nii.gz", bytes, "not compressed in spite of its name"),
        ("a.nii.gz", "b.nii", bytes, "compressed by gzip in spite of its name"),
        ("a.mha", "b.mha", gzip.compress, "compressed by gzip in spite of its name"),
        ("a.mha", "b.nii", bytes, "a MetaImage file in spite of its name"),
        ("a.nii", "b.mha", bytes, "a NIfTI file in spite of its name"),
        ("a.nii.gz", "b.mhd", bytes, "a NIfTI file in spite of its name"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_container_is_read_by_its_content(
    tmp_path: Path, made: str, name: str, change: Callable[[bytes], bytes], note: str, compressed: bool
) -> None:
    values = hounsfield((9, 20, 20))
    content = write(tmp_path / made, image(values), compress=compressed).read_bytes()
    file = tmp_path / name
    file.write_bytes(change(content))
    volume = read_volume(file)
    assert np.array_equal(volume.voxels, grey(values))
    assert volume.spacing is not None
    assert note in volume.notes


def test_an_ordinary_file_has_no_note_of_its_name(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz", "a.mha"):
        assert read_volume(write(tmp_path / name, image(hounsfield((9, 20, 20))))).notes == ()


def test_a_file_compressed_twice_and_an_archive_within_gzip_are_named(tmp_path: Path) -> None:
    twice = tmp_path / "a.nii.gz"
    twice.write_bytes(gzip.compress(write(tmp_path / "b.nii.gz", image(hounsfield((9, 20, 20)))).read_bytes()))
    with pytest.raises(
        ScanError, match=r"a\.nii\.gz is compressed by gzip, and in it is .*compressed by gzip.* unpack it"
    ):
        read_volume(twice)
    twice.write_bytes(gzip.compress(PAGE))
    with pytest.raises(ScanError, match=r"in it is a web page: download it again, signed in"):
        read_volume(twice)


def noise(side: tuple[int, int] = (24, 16)) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, side, dtype=np.uint8)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PNG", "GIF", "WebP", "JPEG 2000"])
def test_slices_of_another_format_are_read_and_counted(tmp_path: Path, kind: str) -> None:
    levels = noise()
    for number in range(1, 13):
        picture = Image.fromarray(np.roll(levels, number, axis=0))
        options = {"WebP": {"lossless": True}, "JPEG 2000": {"irreversible": False}}.get(kind, {})
        picture.save(tmp_path / f"{number}.jpg", format=kind.replace(" ", "").lower(), **options)
    volume = read_volume(tmp_path)
    expected = np.stack([np.roll(levels, number, axis=0) for number in range(1, 13)])
    assert np.abs(volume.voxels.astype(int) - expected).max() <= (1 if kind == "WebP" else 0)
    assert volume.notes == (f"12 slices are {kind}, not JPEG (1-12)",)


def test_other_formats_among_jpegs_are_noted_by_number(tmp_path: Path) -> None:
    write_slices(tmp_path, np.full((5, 16, 16), 90, dtype=np.uint8))
    Image.fromarray(np.full((16, 16), 30, dtype=np.uint8)).save(tmp_path / "2.jpg", format="bmp")
    Image.new("RGB", (16, 16), (50, 50, 50)).save(tmp_path / "4.jpg", format="tiff", compression="tiff_lzw")
    Image.fromarray(np.full((16, 16), 65535 // 5, dtype=np.uint16)).save(tmp_path / "5.jpg", format="tiff")
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [90, 30, 90, 50, 51]
    assert volume.notes == (
        "1 slice of 16 bits, their full range taken as the window (5)",
        "1 slice is BMP, not JPEG (2)",
        "2 slices are TIFF, not JPEG (4-5)",
    )


def test_of_several_pictures_in_a_file_the_first_is_taken_and_it_is_noted(tmp_path: Path) -> None:
    write_slices(tmp_path, np.full((3, 16, 16), 90, dtype=np.uint8))
    pages = [Image.fromarray(np.full((16, 16), level, dtype=np.uint8)) for level in (30, 200)]
    pages[0].save(tmp_path / "2.jpg", format="tiff", save_all=True, append_images=pages[1:])
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [90, 30, 90]
    assert "1 slice of several pictures: the first taken (2)" in volume.notes


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_whose_range_is_not_known_are_no_slice(tmp_path: Path, mode: str) -> None:
    write_slices(tmp_path, np.full((3, 16, 16), 90, dtype=np.uint8))
    Image.new(mode, (16, 16), -1000).save(tmp_path / "2.jpg", format="tiff")
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [90, 90]
    assert volume.notes[0].startswith("1 unreadable slice left out (2)")


@pytest.mark.parametrize("side", [9000, 10000, 60000])
def test_a_header_of_a_huge_picture_is_damage_and_no_crash(tmp_path: Path, side: int) -> None:
    write_slices(tmp_path, np.full((3, 16, 16), 90, dtype=np.uint8))
    Image.fromarray(noise()).save(tmp_path / "2.jpg", format="png")
    content = bytearray((tmp_path / "2.jpg").read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "2.jpg").write_bytes(content)
    assert read_volume(tmp_path).notes[0].startswith("1 unreadable slice left out (2)")


def with_orientation(picture: Image.Image, file: Path, value: int, **how: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    picture.save(file, exif=exif, **how)


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, 1),
}
"""The eight orientations of the EXIF standard, as operations on an array (row, column)."""


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("value", TURNED)
@pytest.mark.parametrize("shape", [(24, 16), (16, 16)])
def test_the_exif_orientation_is_applied_and_noted(
    tmp_path: Path, kind: str, value: int, shape: tuple[int, int]
) -> None:
    stored = np.kron(noise((3, 2) if shape == (24, 16) else (2, 2)), np.ones((8, 8), dtype=np.uint8))
    how = {"jpeg": {"quality": 100}, "webp": {"lossless": True}}.get(kind, {})
    for number in (1, 2, 3):
        with_orientation(Image.fromarray(stored), tmp_path / f"{number}.jpg", value, format=kind, **how)
    volume = read_volume(tmp_path)
    expected = TURNED[value](stored)
    assert volume.voxels.shape == (3, *expected.shape)
    assert np.abs(volume.voxels[1].astype(int) - expected).max() <= 2
    assert ("3 slices turned by the EXIF orientation (1-3)" in volume.notes) == (value != 1)


def test_a_slice_with_another_orientation_than_the_rest_is_turned_alone(tmp_path: Path) -> None:
    stored = np.kron(noise((2, 2)), np.ones((8, 8), dtype=np.uint8))
    write_slices(tmp_path, np.stack([stored] * 4))
    with_orientation(Image.fromarray(stored), tmp_path / "3.jpg", 6, format="jpeg", quality=95)
    volume = read_volume(tmp_path)
    assert np.abs(volume.voxels[2].astype(int) - np.rot90(stored, -1)).max() <= 6
    assert np.abs(volume.voxels[3].astype(int) - stored).max() <= 6
    assert volume.notes == ("1 slice turned by the EXIF orientation (3)",)


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_is_none_and_damaged_exif_change_nothing(tmp_path: Path, value: int) -> None:
    stored = noise((16, 16))
    for number in (1, 2):
        with_orientation(Image.fromarray(stored), tmp_path / f"{number}.jpg", value, format="jpeg")
    content = bytearray((tmp_path / "2.jpg").read_bytes())
    at = content.index(b"Exif\0\0") + 6
    content[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    (tmp_path / "2.jpg").write_bytes(content)
    volume = read_volume(tmp_path)
    assert volume.notes == ()
    assert np.array_equal(volume.voxels[0], volume.voxels[1])


@pytest.mark.parametrize(("first", "kind"), [(b"%PDF-1.7 of a report", kinds.PDF), (b"\1\2\3\4 in no format\0", None)])
def test_a_file_is_opened_once_for_its_kind_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes, kind: kinds.Kind | None
) -> None:
    opened: list[str] = []
    original = kinds.head_of
    monkeypatch.setattr(kinds, "head_of", lambda file: opened.append(str(file)) or original(file))
    file = tmp_path / "a"
    file.write_bytes(first)
    os.utime(file, ns=(1, 1))
    assert [kinds.kind_of_file(file) for _ in range(3)] == 3 * [kind]
    assert len(opened) == 1
    file.write_bytes(b"\xff\xd8\xff".ljust(len(first)))
    os.utime(file, ns=(2, 2))
    assert kinds.kind_of_file(file) == kinds.JPEG
    file.unlink()
    assert kinds.kind_of_file(file) is None
