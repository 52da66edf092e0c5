"""Erosion and dilation: the same as SciPy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cov3d.preprocessing.morphology import dilated, eroded


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 14), st.integers(1, 14)),
    radius=st.integers(0, 9),
    share=st.floats(0, 1),
)
def test_equal_to_scipy(seed: int, shape: tuple[int, int, int], radius: int, share: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    square = np.ones((1, 2 * radius + 1, 2 * radius + 1), dtype=bool)
    assert np.array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, square))
    assert np.array_equal(eroded(mask, radius), ndimage.binary_erosion(mask, square, border_value=1))
