"""Slices that lie in a folder twice: copies are left out, different pictures of one number are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cov3d.errors import ScanError
from cov3d.readers import read_volume
from tests.conftest import write_slices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve slices, from 0, each brighter than the one before."""
    voxels = np.stack([np.full((16, 16), 10 + 20 * number, np.uint8) for number in range(12)])
    write_slices(tmp_path / "scan", voxels, first=0)
    return tmp_path / "scan"


@pytest.mark.parametrize(
    "copies", [("7 (1).jpg",), ("7 - Copy.jpg",), ("07.jpg",), ("7.jpeg",), ("7_copy.jpg", "7 (2).jpg", "007.JPG")]
)
def test_a_copy_of_a_slice_changes_no_voxel_and_is_noted(folder: Path, copies: tuple[str, ...]) -> None:
    before = read_volume(folder)
    assert before.notes == ()
    for copy in copies:
        shutil.copy(folder / "7.jpg", folder / copy)
    after = read_volume(folder)
    np.testing.assert_array_equal(after.voxels, before.voxels)
    assert after.slices_found == 12
    words = "1 copy of slices" if len(copies) == 1 else f"{len(copies)} copies of slices"
    assert after.notes == (f"{words} left out (7)",)


@pytest.mark.parametrize("copy", ["7 (1).jpg", "07.jpg", "7 - Copy.jpg"])
def test_another_picture_of_the_same_number_is_refused(folder: Path, copy: str) -> None:
    shutil.copy(folder / "8.jpg", folder / copy)
    with pytest.raises(ScanError, match="holds two slices numbered 7"):
        read_volume(folder)


def test_numbers_in_brackets_are_numbers_where_no_slice_has_the_name_without(tmp_path: Path) -> None:
    voxels = np.stack([np.full((16, 16), 10 + 20 * number, np.uint8) for number in range(11)])
    write_slices(tmp_path, voxels)
    for number in range(1, 12):
        (tmp_path / f"{number}.jpg").rename(tmp_path / f"CT ({number}).jpg")
    means = read_volume(tmp_path).voxels.mean(axis=(1, 2))
    assert (np.diff(means) > 0).all()


def test_the_shadow_files_of_a_mac_are_no_slices(folder: Path) -> None:
    before = read_volume(folder).voxels
    for number in range(12):
        (folder / f"._{number}.jpg").write_bytes(b"\0\5\26\7" + bytes(100))
    after = read_volume(folder)
    np.testing.assert_array_equal(after.voxels, before)
    assert after.notes == ()
