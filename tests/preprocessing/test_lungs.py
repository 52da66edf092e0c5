"""Finding the lungs and their box: on shapes known exactly, on phantoms, and on real CT."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from cov3d.phantom import make_scan
from cov3d.preprocessing.crop import Box, find_crop
from cov3d.preprocessing.grid import block_mean
from cov3d.preprocessing.lungs import segment
from cov3d.readers import read_volume
from tests.conftest import sphere_chest


def crop_of(voxels: NDArray[np.uint8]) -> tuple[Box, str, float]:
    crop = find_crop(segment(voxels), (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    return crop.box, crop.kind, crop.lung_share


def held_and_tight(lungs: NDArray[np.bool_], box: Box) -> tuple[float, float]:
    """Share of the lung voxels inside the box, and the box's volume over that of their own box."""
    hit = np.nonzero(lungs)
    own = np.prod([int(axis.max() - axis.min() + 1) for axis in hit])
    volume = (box.z1 - box.z0) * (box.y1 - box.y0) * (box.x1 - box.x0)
    return float(lungs[box.slices].sum() / lungs.sum()), float(volume / own)


def test_a_block_mean_is_numpys_mean() -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
    wanted = voxels.reshape(3, 2, 2, 4, 3, 3).mean(axis=(1, 3, 5))
    assert np.allclose(block_mean(voxels, (2, 4, 3)), wanted)


def test_a_block_mean_leaves_out_a_partial_block() -> None:
    voxels = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    assert block_mean(voxels, (2, 1, 1)).ravel().tolist() == [0.5, 2.5]


def test_two_ellipsoids_are_boxed_to_within_the_margin() -> None:
    voxels = sphere_chest()
    lungs = voxels == 55
    box, kind, share = crop_of(voxels)
    held, tight = held_and_tight(lungs, box)
    assert kind == "lungs"
    assert held == 1
    assert tight < 1.3
    assert share == pytest.approx(lungs.sum() / (voxels != 25).sum(), rel=0.1)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_mirrored_scan_has_the_mirrored_box(axis: int) -> None:
    voxels = np.pad(sphere_chest(), ((0, 0), (0, 16), (0, 16)), constant_values=25)  # off-centre both ways
    box, _, _ = crop_of(voxels)
    mirrored, _, _ = crop_of(np.ascontiguousarray(np.flip(voxels, axis)))
    found = {1: (mirrored.y0, mirrored.y1), 2: (mirrored.x0, mirrored.x1)}[axis]
    low, high = {1: (box.y0, box.y1), 2: (box.x0, box.x1)}[axis]
    side = voxels.shape[axis]
    assert found == (side - high, side - low)
    assert found != (low, high)


@pytest.mark.parametrize("level", [0, 25, 200, 255])
def test_without_lungs_the_crop_falls_back_and_says_so(level: int) -> None:
    voxels = np.full((10, 40, 40), level, dtype=np.uint8)
    box, kind, share = crop_of(voxels)
    assert kind == "fallback"
    assert share == 0
    assert box == Box(0, 10, 0, 40, 0, 40)


def test_a_body_without_lungs_is_cropped_to_the_body() -> None:
    voxels = np.full((12, 80, 80), 25, dtype=np.uint8)
    voxels[:, 20:60, 10:70] = 200
    box, kind, _ = crop_of(voxels)
    assert kind == "fallback"
    assert (box.y0, box.y1, box.x0, box.x1) == pytest.approx((20, 60, 10, 70), abs=2)


@pytest.mark.parametrize("category", [None, "mild", "severe", "critical"])
@pytest.mark.parametrize("slices", [60, 130])
def test_phantoms_lungs_are_held_and_boxed_tightly(category: str | None, slices: int) -> None:
    scan = make_scan(5, number=slices, resolution=192, category=category, slices=slices)
    box, kind, _ = crop_of(scan.voxels)
    held, tight = held_and_tight(scan.mask > 0, box)
    assert kind == "lungs"
    assert held >= 0.999
    # Where fluid has taken the lung's place, the box holds it too.
    assert tight <= (1.3 if max(scan.findings.effusion) == 0 else 1.5)


def test_real_lungs_are_held_and_boxed_tightly(real_ct: Path) -> None:
    volume = read_volume(real_ct / "chest_jpeg" / "ct_scan_1")
    reference = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(real_ct / "chest_lungs.nii.gz"))) > 0
    # The slices run from the head, the reference from the feet; a voxel of it is eight pixels wide.
    lungs = np.kron(reference[::-1], np.ones((1, 8, 8), dtype=bool))
    box, kind, _ = crop_of(volume.voxels)
    held, tight = held_and_tight(lungs, box)
    assert kind == "lungs"
    assert held >= 0.999
    assert tight <= 1.2
