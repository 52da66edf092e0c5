"""The picture of a crop: small, the same every time, and box and lungs where they are."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.grid import Grid
from cov3d.preprocessing.lungs import Segmentation
from cov3d.preprocessing.preview import BOX_COLOUR, LUNG_COLOUR, panels, preview
from tests.conftest import sphere_chest

Mask = NDArray[np.bool_]
Extent = tuple[int, int, int, int]


def segmented(
    lungs: Mask, step: tuple[int, int, int] = (1, 1, 1), origin: tuple[int, int, int] = (0, 0, 0)
) -> Segmentation:
    """A segmentation that found these lungs."""
    grid = Grid(np.zeros(lungs.shape, np.float32), step, origin, lungs.shape[0] * step[0] + origin[0])
    return Segmentation(grid, lungs, np.ones_like(lungs), gas=25.0, noise=1.0, opacity=0.0, left_share=0.5)


def nothing(*shape: int) -> Segmentation:
    return segmented(np.zeros(shape, dtype=bool))


def decoded(picture: bytes) -> NDArray[np.int_]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def extent(picture: NDArray[np.int_], colour: tuple[int, int, int], plane: int) -> Extent:
    """First and last row and column of a colour within the cell of a plane."""
    cell = picture[:, plane * 164 : plane * 164 + 160]
    near = np.abs(cell - colour).max(axis=2) < 70
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def test_the_box_is_drawn_where_it_is() -> None:
    voxels = np.full((64, 128, 128), 128, np.uint8)
    picture = decoded(preview(voxels, nothing(64, 128, 128), Box(16, 48, 32, 96, 0, 80)))
    assert picture.shape == (160, 488, 3)
    # 160 pixels show 64 slices, or 128 rows or columns.
    assert extent(picture, BOX_COLOUR, 0) == pytest.approx((40, 119, 0, 99), abs=1)
    assert extent(picture, BOX_COLOUR, 1) == pytest.approx((40, 119, 0, 99), abs=1)
    assert extent(picture, BOX_COLOUR, 2) == pytest.approx((40, 119, 40, 119), abs=1)


def test_the_outline_lies_on_the_lungs_also_where_the_grid_is_a_part_of_the_volume() -> None:
    voxels = np.full((40, 100, 100), 128, np.uint8)
    lungs = np.zeros((20, 20, 16), dtype=bool)
    lungs[5:15, 5:15, 4:8] = True  # with steps of 2, 3 and 3 from (0, 30, 40): slices 10–30, rows 45–75, columns 52–64
    segmentation = segmented(lungs, step=(2, 3, 3), origin=(0, 30, 40))
    picture = decoded(preview(voxels, segmentation, Box(0, 40, 0, 100, 0, 100)))
    assert extent(picture, LUNG_COLOUR, 0) == pytest.approx((72, 119, 83, 102), abs=2)
    assert extent(picture, LUNG_COLOUR, 1) == pytest.approx((40, 119, 83, 102), abs=2)
    assert extent(picture, LUNG_COLOUR, 2) == pytest.approx((40, 119, 72, 119), abs=2)


def test_lines_show_on_bright_tissue() -> None:
    voxels = np.full((60, 100, 100), 230, np.uint8)
    lungs = np.zeros((60, 100, 100), dtype=bool)
    lungs[15:45, 30:70, 30:70] = True
    picture = decoded(preview(voxels, segmented(lungs), Box(5, 55, 10, 90, 10, 90)))
    # Along the middle row of the axial plane the box's side is at column 16, the lungs' at 48, of 160 for 100 voxels.
    row = picture[80, :160]
    for colour, place in ((BOX_COLOUR, 16), (LUNG_COLOUR, 48)):
        like = np.abs(row[place - 3 : place + 4] - colour).max(axis=1) < 60
        assert like.sum() >= 2, (colour, row[place - 3 : place + 4].tolist())


def test_the_planes_are_those_with_the_most_lung_within_the_box() -> None:
    # Every slice, row and column has a grey level of its own, seen in the plane across it.
    z, y, x = np.mgrid[:50, :50, :50]
    lungs = np.zeros((50, 50, 50), dtype=bool)
    lungs[10:14, 20:24, 30:34] = True
    lungs[40:48, 2:10, 2:10] = True  # more, but outside the box
    box = Box(5, 20, 15, 30, 25, 40)
    for plane, (axis, first) in enumerate(((z, 10), (y, 20), (x, 30))):
        picture = decoded(preview((5 * axis).astype(np.uint8), segmented(lungs), box))
        corner = picture[150:158, plane * 164 + 2 : plane * 164 + 10]
        assert 5 * first - 3 <= corner.mean() <= 5 * (first + 3) + 3


def test_without_lungs_the_planes_cut_the_middle_of_the_box() -> None:
    z = np.mgrid[:50, :50, :50][0]
    picture = decoded(preview((5 * z).astype(np.uint8), nothing(50, 50, 50), Box(10, 20, 0, 50, 0, 50)))
    assert picture[20:140, 20:140].mean() == pytest.approx(75, abs=3)


def test_planes_have_the_scans_proportions_where_its_spacing_is_known_and_are_square_where_not() -> None:
    sizes = [(panel.width, panel.height) for panel in panels((50, 100, 100))]
    assert sizes == [(160, 160)] * 3
    # 200 mm deep, 100 mm high and wide
    sizes = [(panel.width, panel.height) for panel in panels((50, 100, 100), (4.0, 1.0, 1.0))]
    assert sizes == [(160, 160), (80, 160), (80, 160)]
    assert [panel.left for panel in panels((50, 100, 100), (4.0, 1.0, 1.0))] == [0, 204, 368]


@pytest.mark.parametrize("shape", [(1, 1, 1), (700, 20, 20), (3, 400, 90), (60, 128, 128)])
def test_a_picture_is_small_whatever_is_in_it_and_the_same_every_time(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    segmentation = segmented(np.random.default_rng(1).random(shape) > 0.5)
    box = Box(0, shape[0], 0, shape[1], 0, shape[2])
    picture = preview(noise, segmentation, box)
    assert len(picture) <= 12_000
    assert picture == preview(noise.copy(), segmentation, box)


def test_a_turned_volume_is_drawn_turned() -> None:
    voxels = sphere_chest(depth=48, side=96)
    voxels[:10] = 0
    box = Box(0, 48, 0, 96, 0, 96)
    upright = decoded(preview(voxels, nothing(48, 96, 96), box))
    turned = decoded(preview(voxels[::-1], nothing(48, 96, 96), box))
    assert upright[2:20, 166:320].mean() < 5
    assert turned[-20:-2, 166:320].mean() < 5
