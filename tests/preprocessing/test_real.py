"""Mask, box and doubts on the real scans, in each of their forms; skipped where the data is absent."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cov3d.preprocessing.pipeline import Located, locate, make_record
from cov3d.readers import read_volume
from cov3d.volume import Volume

MASKED = (
    *("chest.nii.gz", "chest.mha", "chest_jpeg", "uiip1.nii.gz", "uiip1_jpeg", "aorta_crop.nii.gz", "aorta_crop_jpeg"),
    *("cap001_jpeg", "dicom"),
)


pytestmark = pytest.mark.usefixtures("benchmarks")


def located(real_ct: Path, name: str) -> tuple[Located, NDArray[np.bool_]]:
    import real_scans

    if not (real_ct / name).exists():
        pytest.skip(f"{name} is not here")
    (scan,) = real_scans.read_all([real_ct / name])
    assert scan.lungs is not None
    return locate(scan.volume), scan.lungs


@pytest.mark.parametrize("name", MASKED)
def test_mask_and_box_fit(real_ct: Path, name: str) -> None:
    found, lungs = located(real_ct, name)
    box = found.crop.box
    own = np.prod([np.ptp(axis) + 1 for axis in np.nonzero(lungs)])
    mask = found.segmentation.grid.enlarged(found.segmentation.lungs, lungs.shape)
    assert found.crop.kind == "lungs"
    assert lungs[box.slices].sum() / lungs.sum() >= 0.999
    assert np.prod([last - first for first, last in box.bounds]) / own <= 1.25
    assert 2 * (mask & lungs).sum() / (mask.sum() + lungs.sum()) >= 0.95


@pytest.mark.parametrize("name", ["chest_jpeg", "uiip1_jpeg", "cap001_jpeg", "dicom"])
def test_a_good_crop_is_not_doubted_and_a_wrong_one_is(real_ct: Path, name: str) -> None:
    import doubts

    found, _ = located(real_ct, name)
    assert doubts.doubts_about(found) == ""
    for wrong, changed in doubts.made_wrong(found):
        assert doubts.doubts_about(changed), wrong


def test_the_table_is_not_part_of_the_body(real_ct: Path) -> None:
    """In the slice below the back ends at row 465 and the table's top is at rows 485 to 494."""
    found, _ = located(real_ct, "dicom")
    body = found.segmentation.grid.enlarged(found.segmentation.body, found.volume.voxels.shape)
    assert not body[:, 475:].any()
    assert body[60, 80:460, 256].all()


def test_the_stomach_is_not_lung(real_ct: Path) -> None:
    """The last slices of this scan show the stomach, full of gas, and no lung."""
    found, lungs = located(real_ct, "cap001_jpeg")
    mask = found.segmentation.grid.enlarged(found.segmentation.lungs, lungs.shape)
    assert not lungs[160:].any()
    assert not mask[164:].any()


def test_the_same_scan_with_bars_has_the_same_box(real_ct: Path) -> None:
    """The JPEG form of the small field of view is the NIfTI form enlarged, with a bar at both sides."""
    if not (real_ct / "aorta_crop_jpeg").exists():
        pytest.skip("the scan is not here")
    plain, barred = (
        make_record(locate(read_volume(real_ct / name))) for name in ("aorta_crop.nii.gz", "aorta_crop_jpeg/ct_scan_1")
    )
    assert (barred.z0, barred.z1) == (plain.z0, plain.z1)
    for face in ("y0", "y1"):
        assert getattr(barred, face) == pytest.approx(getattr(plain, face) * 512 / 126, abs=8)


def test_only_lungs_of_a_chest_are_lungs(real_ct: Path) -> None:
    volume = read_volume(real_ct / "abdomen.nii.gz")
    record = make_record(locate(Volume(volume.voxels, volume.path, volume.slices_found, volume.spacing)))
    assert record.crop == "fallback"
    assert record.lung_share < 0.01
