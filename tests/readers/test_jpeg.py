"""Reading folders of JPEG slices: order, damage, gaps, sizes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cov3d.errors import ScanError
from cov3d.readers import read_volume
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


@pytest.mark.parametrize("progressive", [False, True])
def test_damage_within_a_slice_is_seen_too_not_filled_with_grey(tmp_path: Path, progressive: bool) -> None:
    write_slices(tmp_path, flat([10, 20]))
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "3.jpg", progressive=progressive)
    Image.fromarray(noise).save(tmp_path / "4.jpg", progressive=progressive)
    whole = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole[: len(whole) // 2] + whole[-2:])  # ends as a JPEG must
    (tmp_path / "4.jpg").write_bytes(whole[:-2])  # only the end mark is gone
    assert read_volume(tmp_path).notes == ("2 unreadable slices left out (3-4)",)


def test_the_volume_does_not_depend_on_the_threads(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (37, 24, 40), dtype=np.uint8)
    write_slices(tmp_path, noise)
    (tmp_path / "9.jpg").write_bytes(b"x")
    Image.fromarray(noise[0, :12]).save(tmp_path / "20.jpg")
    one = read_volume(tmp_path, threads=1)
    assert one.voxels.shape == (36, 24, 40)
    for threads in (2, 3, 16, None):
        other = read_volume(tmp_path, threads=threads)
        assert np.array_equal(one.voxels, other.voxels)
        assert one.notes == other.notes


def test_grey_levels_are_libjpegs_own(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 24), dtype=np.uint8)
    write_slices(tmp_path, noise)
    voxels = read_volume(tmp_path).voxels
    for number, found in enumerate(voxels, start=1):
        with Image.open(tmp_path / f"{number}.jpg") as image:
            assert np.array_equal(found, np.asarray(image))


@pytest.mark.parametrize(("bits", "lossless"), [(12, False), (12, True), (16, True)])
def test_the_full_range_of_deeper_pixels_is_the_window(tmp_path: Path, bits: int, lossless: bool) -> None:
    import imagecodecs

    most = 2**bits - 1
    levels = [0, most // 5, most // 2, most]  # by hand: 0, 51, 127 and a half less a little, 255
    for number, level in enumerate(levels, start=1):
        pixels = np.full((16, 16), level, dtype=np.uint16)
        coded = imagecodecs.jpeg8_encode(pixels, bitspersample=bits, lossless=lossless)
        (tmp_path / f"{number}.jpg").write_bytes(coded)
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [0, 51, 127, 255]
    assert volume.notes == (f"4 slices of {bits} bits, their full range taken as the window (1-4)",)
    (tmp_path / "2.jpg").write_bytes((tmp_path / "2.jpg").read_bytes()[:-10])
    assert read_volume(tmp_path).notes[0] == "1 unreadable slice left out (2)"


def test_deep_slices_among_others_are_noted(tmp_path: Path) -> None:
    import imagecodecs

    write_slices(tmp_path, flat([10, 20, 30]))
    colour = np.full((16, 16, 3), 4095, dtype=np.uint16)
    (tmp_path / "2.jpg").write_bytes(imagecodecs.jpeg8_encode(colour, bitspersample=12))
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [10, 255, 30]
    assert volume.notes == ("1 slice of 12 bits, their full range taken as the window (2)",)


def test_a_png_with_the_name_of_a_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(flat([70])[0]).save(tmp_path / "1.jpg", format="png")
    Image.fromarray(np.full((16, 16), 65535 // 5, dtype=np.uint16)).save(tmp_path / "2.jpg", format="png")
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [70, 51]
    assert volume.notes == (
        "1 slice of 16 bits, their full range taken as the window (2)",
        "2 slices are PNG, not JPEG (1-2)",
    )


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


def test_the_first_slice_may_be_the_odd_one(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([40], side=32))
    write_slices(tmp_path, flat([10, 20, 30], side=16), first=2)
    (tmp_path / "4.jpg").write_bytes(b"x")
    volume = read_volume(tmp_path)
    assert volume.voxels.shape == (3, 16, 16)
    assert volume.voxels[:, 0, 0].tolist() == [40, 10, 20]
    assert volume.notes == ("1 unreadable slice left out (4)", "1 slice resized to 16x16 (1)")


def test_slices_need_not_be_square_or_512(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 30, 50), dtype=np.uint8)
    write_slices(tmp_path, noise)
    assert read_volume(tmp_path).voxels.shape == (3, 30, 50)


def test_colour_becomes_grey(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "1.jpg")
    Image.new("RGB", (8, 8), (200, 30, 60)).save(tmp_path / "2.jpg", quality=100, subsampling=0)
    Image.new("RGB", (8, 8), (200, 30, 60)).save(tmp_path / "3.jpg", quality=100, keep_rgb=True)
    voxels = read_volume(tmp_path).voxels
    assert voxels[0].tolist() == [[90] * 8] * 8
    luma = 0.299 * 200 + 0.587 * 30 + 0.114 * 60
    assert np.abs(voxels[1:] - luma).max() <= 1.5


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
    with pytest.raises(ScanError, match="is no scan: a scan is a folder of JPEG slices"):
        read_volume(tmp_path / "file")


def test_numbers_far_apart_are_reported_and_not_listed(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4, 20231123101500):
        write_slices(tmp_path, flat([10]), first=number)
    assert read_volume(tmp_path).notes == ("slice numbers are far apart (1 to 20231123101500): are they one series?",)


def test_links_to_lost_files_are_missing_slices(tmp_path: Path) -> None:
    write_slices(tmp_path / "store", flat(list(range(10, 170, 10))))
    scan = tmp_path / "scan"
    scan.mkdir()
    for number in range(1, 17):
        (scan / f"{number}.jpg").symlink_to(tmp_path / "store" / f"{number}.jpg")
    for number in range(5, 13):
        (tmp_path / "store" / f"{number}.jpg").unlink()
    volume = read_volume(scan)
    assert volume.voxels[:, 0, 0].tolist() == [10, 20, 30, 40, 130, 140, 150, 160]
    assert volume.slices_found == 16
    assert volume.notes == ("8 slices missing: links to files that do not exist (5-12)",)


def test_a_scan_of_lost_links_alone_is_an_error(tmp_path: Path) -> None:
    for number in range(1, 4):
        (tmp_path / f"{number}.jpg").symlink_to(tmp_path / "gone" / f"{number}.jpg")
    with pytest.raises(ScanError, match=r"all 3 slices in .* are links to files that do not exist"):
        read_volume(tmp_path)


def test_a_folder_with_the_name_of_a_slice_is_none(tmp_path: Path) -> None:
    write_slices(tmp_path, flat([10, 20, 30]))
    (tmp_path / "4.jpg").mkdir()
    volume = read_volume(tmp_path)
    assert (volume.slices_found, volume.notes) == (3, ())


@pytest.mark.parametrize(
    ("numbers", "note"),
    [
        ((1, 3, 5, 7, 10, 12), "1 slice missing (between 7 and 10)"),
        ((1, 2, 3, 6, 7), "2 slices missing (4-5)"),
        ((10, 20, 30, 50, 60), "1 slice missing (40)"),
        ((10, 20, 30, 41, 51), None),
        ((1, 4, 7, 11, 14, 17), None),
    ],
)
def test_gaps_are_named_by_the_numbers_that_are_there(tmp_path: Path, numbers: tuple[int, ...], note: str) -> None:
    for number in numbers:
        Image.fromarray(flat([100])[0]).save(tmp_path / f"{number}.jpg")
    assert read_volume(tmp_path).notes == (() if note is None else (note,))


def write_named(folder: Path, levels: dict[str, int]) -> None:
    for name, level in levels.items():
        Image.fromarray(flat([level])[0]).save(folder / name)


def test_slices_named_by_decimal_positions_are_ordered_by_position(tmp_path: Path) -> None:
    write_named(
        tmp_path, {"ct_1.37.jpg": 10, "ct_2.62.jpg": 20, "ct_3.87.jpg": 30, "ct_10.12.jpg": 80, "ct_5.12.jpg": 40}
    )
    volume = read_volume(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [10, 20, 30, 40, 80]
    assert volume.notes == (
        "slices ordered by the positions in their names (1.37 to 10.12)",
        "3 slices missing (between 5.12 and 10.12)",
    )


def test_whole_positions_stand_among_decimal_ones(tmp_path: Path) -> None:
    write_named(tmp_path, {"9.jpg": 20, "7.5.jpg": 10, "10.5.jpg": 30, "12.jpg": 40})
    assert read_volume(tmp_path).voxels[:, 0, 0].tolist() == [10, 20, 30, 40]


def test_a_series_and_a_number_are_no_position(tmp_path: Path) -> None:
    write_named(tmp_path, {"ct_3.2.jpg": 20, "ct_3.10.jpg": 100, "ct_3.1.jpg": 10})
    assert read_volume(tmp_path).voxels[:, 0, 0].tolist() == [10, 20, 100]


def test_the_last_number_of_a_uid_is_the_slice(tmp_path: Path) -> None:
    write_named(tmp_path, {"1.2.840.7.9.jpg": 10, "1.2.840.8.10.jpg": 20, "1.2.840.9.11.jpg": 30})
    assert read_volume(tmp_path).voxels[:, 0, 0].tolist() == [10, 20, 30]


def test_names_that_may_be_either_are_refused(tmp_path: Path) -> None:
    write_named(tmp_path, {"3.1.jpg": 10, "3.2.jpg": 20, "4.1.jpg": 30, "4.2.jpg": 40})
    with pytest.raises(ScanError, match="may be positions or series and numbers"):
        read_volume(tmp_path)


def test_two_slices_at_one_position_are_refused(tmp_path: Path) -> None:
    write_named(tmp_path, {"3.50.jpg": 10, "3.5.jpg": 20, "4.25.jpg": 30})
    with pytest.raises(ScanError, match=r"two slices at position 3\.50?"):
        read_volume(tmp_path)
