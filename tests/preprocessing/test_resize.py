"""Resizing against scikit-image's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize as skimage_resize

from cov3d.preprocessing.resize import axis_weights, resize

sizes = st.integers(2, 40)


@settings(max_examples=40, deadline=None)
@given(st.tuples(sizes, sizes, sizes), st.tuples(sizes, sizes, sizes), st.integers(0, 2**32 - 1))
def test_equals_scikit_image(shape: tuple[int, int, int], new: tuple[int, int, int], seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    exact = skimage_resize(voxels, new, order=3, preserve_range=True)
    found = resize(voxels, new).astype(float)
    # Rounded to the nearest grey level, but for what float32 and dropped weights may tip over the half.
    assert np.abs(found - exact).max() <= 0.55
    if found.size > 500:  # in a few voxels the mean is that of a few halves
        assert np.abs(found - np.rint(exact)).mean() < 0.1


def test_the_same_size_is_the_same_volume() -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (7, 9, 11), dtype=np.uint8)
    assert np.array_equal(resize(voxels, (7, 9, 11)), voxels)


def test_stays_within_the_range_of_the_input() -> None:
    voxels = np.full((8, 8, 8), 50, dtype=np.uint8)
    voxels[4:] = 200
    found = resize(voxels, (20, 20, 20))
    assert found.dtype == np.uint8
    assert (found.min(), found.max()) == (50, 200)


@pytest.mark.parametrize(("size", "new"), [(1, 32), (350, 256), (60, 256), (512, 64)])
def test_every_row_of_weights_sums_to_one(size: int, new: int) -> None:
    weights = axis_weights(size, new)
    assert weights.shape == (new, size)
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
