"""Enclosure, the level of gas, growth and closing of masks: on shapes worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cov3d.preprocessing.enclosure import tissue_directions
from cov3d.preprocessing.gas import measure_gas
from cov3d.preprocessing.grid import Grid, reduce
from cov3d.preprocessing.morphology import closed, largest, opened, shared_out
from cov3d.volume import hounsfield_to_grey


def test_directions_in_which_tissue_stands() -> None:
    tissue = np.zeros((1, 12, 12), dtype=bool)
    tissue[0, 2:4, 2:10] = tissue[0, 2:10, 2:4] = tissue[0, 2:10, 8:10] = True  # a wall open at the bottom
    seen = tissue_directions(tissue)[0]
    assert seen[6, 6] == 3
    assert seen[0, 6] == 1
    assert seen[6, 0] == 1
    assert seen[11, 11] == 0
    tissue[0, 8:10, 2:10] = True
    assert tissue_directions(tissue)[0, 6, 6] == 4


def test_a_wall_of_one_voxel_is_none() -> None:
    tissue = np.zeros((1, 9, 9), dtype=bool)
    tissue[0, 1], tissue[0, 6:8] = True, True
    assert (tissue_directions(tissue)[0, 4] == 1).all()


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), height=st.integers(1, 9), width=st.integers(1, 9))
def test_directions_are_those_counted_one_by_one(seed: int, share: float, height: int, width: int) -> None:
    tissue = np.random.default_rng(seed).random((2, height, width)) < share

    def thick(line: np.ndarray) -> bool:
        return bool((line[1:] & line[:-1]).any())

    wanted = np.zeros(tissue.shape, dtype=np.uint8)
    for z, y, x in np.ndindex(*tissue.shape):
        row, column = tissue[z, y], tissue[z, :, x]
        # The nearer voxel of a pair must lie before the place; the place itself may be the farther one.
        lines = (row[: x + 1], row[x:], column[: y + 1], column[y:])
        wanted[z, y, x] = sum(thick(line) for line in lines)
    assert np.array_equal(tissue_directions(tissue), wanted)


def test_gas_is_the_lowest_peak_of_the_air_outside() -> None:
    rng = np.random.default_rng(0)
    air, foam = rng.normal(26, 1.5, (10, 40, 40)), rng.normal(37, 1, (10, 40, 60))
    values = np.concatenate([air, foam], axis=2).astype(np.float32)
    everywhere = np.ones(values.shape, dtype=bool)
    gas, noise = measure_gas(values, everywhere, everywhere)
    assert gas == pytest.approx(26, abs=0.7)
    assert noise == pytest.approx(1.5, abs=0.3)


def test_without_air_outside_gas_is_the_darkest_air_but_never_as_bright_as_lung() -> None:
    nowhere = np.zeros((4, 10, 10), dtype=bool)
    dark, lung = np.full(nowhere.shape, 24, np.float32), np.full(nowhere.shape, 60, np.float32)
    assert measure_gas(dark, nowhere, ~nowhere)[0] == 24
    assert measure_gas(lung, nowhere, ~nowhere)[0] == pytest.approx(hounsfield_to_grey(-1000))


def test_lung_that_the_field_of_view_cuts_is_not_the_air_outside() -> None:
    lung = np.random.default_rng(0).normal(48, 6, (10, 60, 60)).astype(np.float32)
    lung[:, :2] = 26  # a windpipe
    everywhere = np.ones(lung.shape, dtype=bool)
    assert measure_gas(lung, everywhere, everywhere)[0] == pytest.approx(hounsfield_to_grey(-1000))


def test_two_pieces_share_what_lies_between_them() -> None:
    within = np.zeros((1, 3, 11), dtype=bool)
    within[0, 1] = True
    first, second = np.zeros_like(within), np.zeros_like(within)
    first[0, 1, 1], second[0, 1, 8] = True, True
    one, other = shared_out(first, second, within, 20)
    # 2 to 4 are nearer to 1, 5 to 7 to 8.
    assert np.flatnonzero(one[0, 1]).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(other[0, 1]).tolist() == [5, 6, 7, 8, 9, 10]
    assert not (one | other)[0, [0, 2]].any()


def test_growth_stops_after_its_steps_and_at_walls() -> None:
    within = np.ones((2, 5, 9), dtype=bool)
    within[:, :, 5] = False
    seed, none = np.zeros_like(within), np.zeros_like(within)
    seed[0, 2, 2] = True
    one, _ = shared_out(seed, none, within, 2)
    wanted = ndimage.binary_dilation(seed[0], iterations=2, mask=within[0])
    assert np.array_equal(one[0], wanted)
    assert not one[1].any()


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), radius=st.integers(1, 3))
def test_opening_and_closing_are_scipys_away_from_the_border(seed: int, share: float, radius: int) -> None:
    mask = np.zeros((2, 20, 20), dtype=bool)
    mask[:, 7:13, 7:13] = np.random.default_rng(seed).random((2, 6, 6)) < share
    square = np.ones((1, 2 * radius + 1, 2 * radius + 1), dtype=bool)
    assert np.array_equal(closed(mask, radius), ndimage.binary_closing(mask, square))
    assert np.array_equal(opened(mask, radius), ndimage.binary_opening(mask, square))


def test_nothing_is_closed_against_the_border() -> None:
    mask = np.zeros((1, 9, 9), dtype=bool)
    mask[0, :, 6] = True
    assert np.array_equal(closed(mask, 3), mask)


def test_the_largest_piece() -> None:
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[0, :2, :2] = mask[1:, 4:, 4:] = True
    assert np.array_equal(largest(mask), mask & (np.indices(mask.shape)[0] > 0))
    assert not largest(np.zeros_like(mask)).any()


def test_a_coarse_scan_has_as_many_grid_voxels_as_a_fine_one() -> None:
    """The same body in pixels of 1, 2 and 8 units: 128 grid voxels wide but for what whole blocks allow."""
    fine = np.full((6, 512, 512), 25, dtype=np.uint8)
    fine[:, 128:384, 64:448] = 200
    widths = []
    for by in (1, 2, 8):
        grid = reduce(np.ascontiguousarray(fine[:, ::by, ::by]))
        widths.append(np.count_nonzero(grid.values[0, grid.values.shape[1] // 2] > 150))
    assert widths == pytest.approx([128] * 3, rel=0.34)  # blocks are whole pixels


@pytest.mark.parametrize("level", [0, 12, 26])
def test_bars_are_no_part_of_the_grid(level: int) -> None:
    rng = np.random.default_rng(0)
    body = rng.normal(200, 3, (8, 90, 60))
    image = np.pad(body, ((0, 0), (0, 0), (15, 15)), constant_values=level).astype(np.uint8)
    grid = reduce(image)
    assert (grid.values > 180).all()
    assert grid.origin[2] == 15


def test_a_mask_of_the_grid_is_enlarged_to_where_it_lies() -> None:
    grid = Grid(np.zeros((2, 2, 4), np.float32), step=(2, 3.0, 0.5), origin=(0, 1, 2), slices=5)
    mask = np.zeros((2, 2, 4), dtype=bool)
    mask[1, 0, 2:] = True
    wanted = np.zeros((5, 8, 6), dtype=bool)
    wanted[2:4, 1:4, 3] = True
    assert np.array_equal(grid.enlarged(mask, (5, 8, 6)), wanted)
