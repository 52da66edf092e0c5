"""What is taken for a scan in a tree of folders, and what is not."""

import os
from pathlib import Path

import numpy as np
import pytest

from cov3d.errors import ScanError
from cov3d.readers import find_scans, read_volume, walk_scans
from tests.conftest import write_slices


def slices(folder: Path) -> None:
    write_slices(folder, np.full((2, 16, 16), 10, dtype=np.uint8))


def touch(file: Path) -> Path:
    """Finding scans opens none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def names(root: Path, *given: Path) -> list[str]:
    return [scan.relative_to(root).as_posix() for scan in find_scans(given or [root])]


def test_files_and_folders_are_found_together(tmp_path: Path) -> None:
    for name in ("b/2.nii.gz", "b/1.NII", "3.mha", "c/d/4.mhd", "c/d/4.raw", "notes.txt", "c/table.csv"):
        touch(tmp_path / name)
    slices(tmp_path / "a")
    slices(tmp_path / "b" / "5")
    assert names(tmp_path) == ["3.mha", "a", "b/1.NII", "b/2.nii.gz", "b/5", "c/d/4.mhd"]
    assert names(tmp_path, tmp_path / "b", tmp_path / "3.mha", tmp_path / "b" / "1.NII") == [
        *("3.mha", "b/1.NII", "b/2.nii.gz", "b/5")
    ]


def test_hidden_files_masks_and_what_we_wrote_are_no_scans(tmp_path: Path) -> None:
    slices(tmp_path / "scan")
    for name in (
        *("._1.nii.gz", ".cache/2.nii.gz", "masks/train/covid/3.nii.gz", "derived/Masks/4.nii.gz"),
        *("preprocessed/tiny/settings.json", "preprocessed/tiny/volumes/scan/x.nii.gz"),
        *("out/predictions.csv", "out/manifest.csv"),
    ):
        touch(tmp_path / name)
    assert names(tmp_path) == ["scan"]


def test_a_folder_of_masks_given_by_name_is_looked_into(tmp_path: Path) -> None:
    touch(tmp_path / "masks" / "1.nii.gz")
    assert names(tmp_path, tmp_path / "masks") == ["masks/1.nii.gz"]


def test_an_empty_folder_among_folders_of_one_scan_is_a_lost_scan(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        touch(tmp_path / patient / "ct.nii.gz")
    (tmp_path / "p3").mkdir()
    touch(tmp_path / "metadata" / "reference.csv")
    found = {scan.path.relative_to(tmp_path).as_posix(): scan.lost for scan in walk_scans(tmp_path)}
    assert found == {"p1/ct.nii.gz": False, "p2/ct.nii.gz": False, "p3": True}


def test_a_link_to_a_file_that_is_gone_is_a_scan_so_that_its_loss_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "annex" / "a")
    assert names(tmp_path) == ["a.nii.gz"]
    with pytest.raises(ScanError, match="there is no scan at"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["1.dcm", "1.jpg", "1.png", "notes.txt"])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = touch(tmp_path / name)
    with pytest.raises(ScanError, match=f"{name} is no scan: a scan is a folder of JPEG slices"):
        find_scans([file])


def test_scans_are_found_at_any_depth_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b/deep/scan", "a", "b/other"):
        slices(tmp_path / name)
    (tmp_path / "c" / "reports").mkdir(parents=True)
    (tmp_path / "c" / "reports" / "readme.txt").write_text("x")
    found = find_scans([tmp_path, tmp_path / "a"])
    assert [scan.relative_to(tmp_path).as_posix() for scan in found] == ["a", "b/deep/scan", "b/other"]


@pytest.mark.parametrize("content", [None, ".DS_Store", "1.dcm", "1.bmp"])
def test_a_folder_without_slices_among_scans_counts_as_one_so_that_its_loss_is_seen(
    tmp_path: Path, content: str | None
) -> None:
    slices(tmp_path / "scan1")
    (tmp_path / "scan2").mkdir()
    if content:
        (tmp_path / "scan2" / content).write_bytes(b"x")
    assert find_scans([tmp_path]) == [tmp_path / "scan1", tmp_path / "scan2"]
    with pytest.raises(ScanError, match="no JPEG slices"):
        read_volume(tmp_path / "scan2")


def test_two_links_to_one_scan_are_two_scans(tmp_path: Path) -> None:
    slices(tmp_path / "elsewhere" / "scan")
    (tmp_path / "root").mkdir()
    for name in ("a", "b"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere" / "scan")
    assert find_scans([tmp_path / "root"]) == [tmp_path / "root" / "a", tmp_path / "root" / "b"]


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    slices(folder)
    with pytest.raises(ScanError, match="not UTF-8: rename it"):
        find_scans([tmp_path])


def test_a_link_back_to_a_folder_above_does_not_loop(tmp_path: Path) -> None:
    slices(tmp_path / "scan")
    (tmp_path / "again").symlink_to(tmp_path)
    assert find_scans([tmp_path]) == [tmp_path / "scan"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_scan_at_all_is_an_error(tmp_path: Path, make: object) -> None:
    make(tmp_path / "here")  # type: ignore[operator]
    with pytest.raises(ScanError, match="no scan"):
        find_scans([tmp_path / "here"])


def test_thumbnails_that_a_network_drive_adds_are_no_scans(tmp_path: Path) -> None:
    write_slices(tmp_path / "covid" / "ct_scan_1", np.full((3, 8, 8), 100, dtype=np.uint8))
    for number in (1, 2, 3):
        thumbnails = tmp_path / "covid" / "ct_scan_1" / "@eaDir" / f"{number}.jpg"
        write_slices(thumbnails, np.full((2, 8, 8), 100, dtype=np.uint8))
    assert find_scans([tmp_path]) == [tmp_path / "covid" / "ct_scan_1"]


def test_a_folder_named_like_a_slice_makes_no_scan(tmp_path: Path) -> None:
    write_slices(tmp_path / "ct_scan_1", np.full((3, 8, 8), 100, dtype=np.uint8))
    (tmp_path / "thumbs" / "1.jpg").mkdir(parents=True)
    (tmp_path / "thumbs" / "1.jpg" / "small.png").write_bytes(b"x")
    found = find_scans([tmp_path])
    assert tmp_path / "ct_scan_1" in found
    assert tmp_path / "thumbs" not in found
