"""The quick form of `benchmarks/stability.py`: the box holds still under changes that move no lung."""

from pathlib import Path

import numpy as np
import pytest

from cov3d.phantom.scan import make_scan
from cov3d.volume import Volume

pytestmark = pytest.mark.usefixtures("benchmarks")

CHANGES = (
    *("3 grey levels brighter", "3 grey levels darker", "noise of 5", "JPEG quality 75", "half resolution in plane"),
    *("padded with black", "padded with air", "mirrored", "2 slices cut off", "shifted by 3 rows"),
    *("every second slice", "pairs of slices averaged", "turned by 3 degrees", "round field of view"),
)


@pytest.mark.parametrize("kind", [None, "thin chest wall", "hard table", "blankets", "stomach full of gas"])
def test_the_box_of_a_phantom_holds_still(kind: str | None) -> None:
    from real_scans import RealScan
    from stability import try_changes

    scan = make_scan(41, number=2, resolution=192, slices=72, variant=kind)
    moved = try_changes(RealScan("phantom", Volume(scan.voxels, Path("phantom"), 72), scan.mask > 0), CHANGES)
    assert [one for one in moved if one.too_far] == []
    assert min(one.recall for one in moved) >= 0.995


@pytest.mark.parametrize("name", ["chest_jpeg", "uiip1_jpeg"])
def test_the_box_of_a_real_scan_holds_still(real_ct: Path, name: str) -> None:
    from real_scans import read_all
    from stability import try_changes

    if not (real_ct / name).exists():
        pytest.skip(f"{name} is not here")
    (scan,) = read_all([real_ct / name])
    some = ("3 grey levels darker", "noise of 5", "half resolution in plane", "padded with air", "turned by 3 degrees")
    moved = try_changes(scan, some)
    assert [one for one in moved if one.too_far] == []
    assert min(one.recall for one in moved) >= 0.995


def test_the_way_back_from_a_changed_scan_is_exact() -> None:
    """A marked block, changed and boxed by its voxels, comes back to where it was."""
    from changes import CHANGES as ALL

    from cov3d.preprocessing.crop import Box

    lungs = np.zeros((24, 64, 64), dtype=bool)
    lungs[8:16, 16:32, 24:56] = True
    voxels = np.where(lungs, 40, 200).astype(np.uint8)
    exact = (
        *("3 grey levels brighter", "half resolution in plane", "double resolution in plane", "padded with air"),
        *("mirrored", "2 slices cut off", "shifted by 3 rows", "pairs of slices averaged"),
    )
    for name in exact:
        changed = ALL[name][0](voxels, lungs)
        spans = [np.flatnonzero(changed.lungs.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        edges = [edge for span in spans for edge in (int(span[0]), int(span[-1]) + 1)]
        assert changed.back(Box(*edges)) == ((8, 16), (16, 32), (24, 56)), name
