"""Finding the lungs on the hard kinds of scan: cut, turned, tilted, consolidated, without lungs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cov3d.phantom import make_scan
from cov3d.phantom.scan import PhantomScan
from cov3d.phantom.variants import SICK, VARIANTS
from cov3d.preprocessing.pipeline import FEET_FIRST, NO_LUNGS, Located, locate, preprocess
from cov3d.preprocessing.sizes import Size
from cov3d.readers import read_volume
from cov3d.volume import Volume


def volume_of(scan: PhantomScan) -> Volume:
    return Volume(scan.voxels, Path("phantom"), len(scan.voxels))


def held(scan: PhantomScan, located: Located) -> float:
    lungs = scan.mask > 0
    if FEET_FIRST in located.volume.notes:
        lungs = lungs[::-1]
    return float(lungs[located.crop.box.slices].sum() / lungs.sum())


def hard(kind: str, seed: int = 8) -> PhantomScan:
    category = "critical" if kind in SICK else None
    return make_scan(seed, number=3, resolution=160, slices=60, category=category, variant=kind)


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind != "no lungs"])
def test_the_lungs_are_held(kind: str) -> None:
    scan = hard(kind)
    located = locate(volume_of(scan))
    assert located.crop.kind == "lungs"
    assert held(scan, located) >= 0.995
    assert (FEET_FIRST in located.volume.notes) == (kind == "feet first")


def test_without_lungs_the_body_is_kept_and_never_an_empty_volume() -> None:
    done = preprocess(volume_of(hard("no lungs")), [Size.TINY])
    assert done.record.crop == "fallback"
    assert NO_LUNGS in done.record.notes
    assert done.voxels[Size.TINY].std() > 10


def test_a_scan_stored_feet_first_gives_what_the_same_scan_gives_head_first() -> None:
    scan = make_scan(8, number=5, resolution=160, slices=64)
    upright, turned = volume_of(scan), Volume(np.ascontiguousarray(scan.voxels[::-1]), Path("phantom"), 64)
    wanted, found = preprocess(upright, [Size.TINY]), preprocess(turned, [Size.TINY])
    # One grid voxel spans one slice here, so that the two grids are the same turned round.
    assert np.array_equal(found.voxels[Size.TINY], wanted.voxels[Size.TINY])
    assert found.record.notes == FEET_FIRST
    assert replace(found.record, notes="") == wanted.record


def test_real_ct_is_turned_only_when_it_lies_feet_first(real_ct: Path) -> None:
    volume = read_volume(real_ct / "chest_jpeg" / "ct_scan_1")
    turned = Volume(np.ascontiguousarray(volume.voxels[::-1]), volume.path, volume.slices_found)
    assert FEET_FIRST not in locate(volume).volume.notes
    assert FEET_FIRST in locate(turned).volume.notes
    assert locate(turned).crop.box == locate(volume).crop.box


def test_real_abdomen_is_no_chest(real_ct: Path) -> None:
    located = locate(read_volume(real_ct / "abdomen.nii.gz"))
    assert located.crop.kind == "fallback"


@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_real_lungs_cut_by_the_field_of_view_are_still_found(real_ct: Path, side: str) -> None:
    import SimpleITK

    volume = read_volume(real_ct / "chest_jpeg" / "ct_scan_1")
    reference = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(real_ct / "chest_lungs.nii.gz"))) > 0
    lungs = np.kron(reference[::-1], np.ones((1, 8, 8), dtype=bool))
    columns = {"left": slice(0, 430), "right": slice(82, 512), "both": slice(82, 430)}[side]
    cut = Volume(np.ascontiguousarray(volume.voxels[:, :, columns]), volume.path, volume.slices_found)
    located = locate(cut)
    inside = lungs[:, :, columns]
    assert located.crop.kind == "lungs"
    assert inside[located.crop.box.slices].sum() / inside.sum() >= 0.995


def test_lungs_white_at_the_base_are_held_by_the_rib_cage() -> None:
    """The same scan with and without consolidation has about the same box: the cage does not change."""
    plain = make_scan(21, number=1, resolution=160, slices=80, category="non-covid")
    white = make_scan(21, number=1, resolution=160, slices=80, category="critical", variant="consolidated")
    first, second = (locate(volume_of(scan)).crop.box for scan in (plain, white))
    assert second.y1 == pytest.approx(first.y1, abs=8)
    assert first.z1 - 3 <= second.z1 <= first.z1 + 20
