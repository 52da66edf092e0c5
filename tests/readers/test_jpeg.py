"""Reading folders of JPEG slices: order, damage, gaps, sizes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cov3d.errors import ScanError
from cov3d.readers import find_scans, read_volume
from tests.conftest import write_slices


def flat(levels: list[int], side: int = 16) -> np.ndarray:
    """Slices of one grey level each: JPEG keeps them exactly."""
    return np.stack([np.full((side, side), level, dtype=np.uint8) for level in levels])


def test_slices_sort_by_number_not_by_text(tmp_path: Path) -> None:
    levels = list(range(10, 130, 10))
    write_slices(tmp_path / "scan", flat(levels))
    volume = read_volume(tmp_path / "scan")
    assert volume.voxels[:, 0, 0].tolist() == levels
    assert volume.voxels.shape == (12, 16, 16)
    assert (volume.slices_found, volume.notes, volume.spacing) == (12, (), None)


def test_other_file_names_sort_by_their_last_number(tmp_path: Path) -> None:
    for number, level in ((2, 20), (10, 100), (1, 10)):
        Image.fromarray(flat([level])[0]).save(tmp_path / f"CT3_slice{number:03d}.JPEG", format="jpeg")
    assert read_volume(tmp_path).voxels[:, 0, 0].tolist() == [10, 20, 100]


def test_a_corrupt_slice_is_left_out_and_noted_not_made_up(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([10, 20, 30, 40]))
    (tmp_path / "2.jpg").write_bytes(b"not a picture")
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [10, 30, 40]
    assert volume.slices_found == 4
    assert volume.notes == ("1 unreadable slice left out (2)",)


def test_a_truncated_slice_is_left_out_and_noted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    write_slices(tmp_path, noise)
    whole = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole[: len(whole) // 2])
    volume = read_volume(tmp_path)
    assert volume.voxels.shape[0] == 3
    assert volume.notes == ("1 unreadable slice left out (3)",)


def test_gaps_in_the_numbers_are_noted(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([10] * 12))
    for number in (4, 5, 6, 9):
        (tmp_path / f"{number}.jpg").unlink()
    volume = read_volume(tmp_path)
    assert volume.voxels.shape[0] == 8
    assert volume.notes == ("4 slices missing (4-6, 9)",)


def test_every_other_number_is_not_a_gap(tmp_path: Path) -> None:
    for number in (1, 3, 5, 7):
        write_slices(tmp_path, flat([10]), first=number)
    assert read_volume(tmp_path).notes == ()


def test_slices_of_another_size_are_resized_to_the_commonest(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([10, 20, 30], side=16))
    write_slices(tmp_path, flat([40, 50], side=32), first=4)
    volume = read_volume(tmp_path)
    assert volume.voxels.shape == (5, 16, 16)
    assert volume.voxels[:, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert volume.notes == ("2 slices resized to 16x16 (4-5)",)


def test_colour_becomes_grey(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "1.jpg")
    assert read_volume(tmp_path).voxels.tolist() == [[[90] * 8] * 8]


def test_a_macs_shadow_files_are_not_slices(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([10, 20]))
    (tmp_path / "._1.jpg").write_bytes(b"\x00\x05\x16\x07")
    assert read_volume(tmp_path).slices_found == 2


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "no JPEG slices"),
        ({"1.txt": b"x"}, "no JPEG slices"),
        ({"1.jpg": b"x"}, "none of the 1 slices"),
        ({"scout.jpg": None}, "no slice in .* has a number"),
        ({"a_1.jpg": None, "b_1.jpg": None}, "two slices numbered 1"),
        ({"1.jpg": None, "2.jpg": b"x", "3.jpg": b"x"}, "can't be read as JPEG"),
    ],
)
def test_what_can_not_be_a_scan_is_refused_in_a_sentence(
    tmp_path: Path, files: dict[str, bytes | None], sentence: str
) -> None:
    for name, content in files.items():
        if content is None:
            Image.fromarray(flat([10])[0]).save(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ScanError, match=sentence) as error:
        read_volume(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_missing_scan_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="there is no scan"):
        read_volume(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ScanError, match="not a folder of JPEG slices"):
        read_volume(tmp_path / "file")


def test_scans_are_found_at_any_depth_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b/deep/scan", "a", "b/other"):
        write_slices(tmp_path / name, flat([10]))
    (tmp_path / "c" / "reports").mkdir(parents=True)
    (tmp_path / "c" / "reports" / "readme.txt").write_text("x")
    found = find_scans([tmp_path, tmp_path / "a"])
    assert [scan.relative_to(tmp_path).as_posix() for scan in found] == ["a", "b/deep/scan", "b/other"]


@pytest.mark.parametrize("content", [None, ".DS_Store", "1.dcm", "1.png"])
def test_a_folder_without_slices_among_scans_counts_as_one_so_that_its_loss_is_seen(
    tmp_path: Path, content: str | None
) -> None:
    write_slices(tmp_path / "scan1", flat([10]))
    (tmp_path / "scan2").mkdir()
    if content:
        (tmp_path / "scan2" / content).write_bytes(b"x")
    assert find_scans([tmp_path]) == [tmp_path / "scan1", tmp_path / "scan2"]
    with pytest.raises(ScanError, match="no JPEG slices"):
        read_volume(tmp_path / "scan2")


def test_two_links_to_one_scan_are_two_scans(tmp_path: Path) -> None:
    write_slices(tmp_path / "elsewhere" / "scan", flat([10]))
    (tmp_path / "root").mkdir()
    for name in ("a", "b"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere" / "scan")
    assert find_scans([tmp_path / "root"]) == [tmp_path / "root" / "a", tmp_path / "root" / "b"]


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    write_slices(folder, flat([10]))
    with pytest.raises(ScanError, match="not UTF-8: rename it"):
        find_scans([tmp_path])


def test_numbers_far_apart_are_said_and_not_listed(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4, 20231123101500):
        write_slices(tmp_path, flat([10]), first=number)
    assert read_volume(tmp_path).notes == ("slice numbers are far apart (1 to 20231123101500): are they one series?",)


def test_a_link_back_to_a_folder_above_does_not_loop(tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", flat([10]))
    (tmp_path / "again").symlink_to(tmp_path)
    assert find_scans([tmp_path]) == [tmp_path / "scan"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_scan_at_all_is_an_error(tmp_path: Path, make: object) -> None:
    make(tmp_path / "here")  # type: ignore[operator]
    with pytest.raises(ScanError, match="no scan"):
        find_scans([tmp_path / "here"])
