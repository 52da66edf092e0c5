"""Stored values → grey levels: integers take another way than all other numbers, with the same result."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cov3d.readers.grey import LOWEST, Levels, stack_to_grey, to_grey
from cov3d.readers.threads import each

LOW, HIGH = -1150, 350


def grey_of(stored: NDArray[Any], **how: Any) -> tuple[NDArray[np.uint8], Levels]:
    target = np.full(stored.shape, 77, dtype=np.uint8)
    return target, to_grey(stored, target, **how)


def level(hounsfield: int) -> int:
    """A grey level in exact arithmetic; Python rounds halves to even, as NumPy does."""
    return round(Fraction(min(max(hounsfield, LOW), HIGH) - LOW) * 255 / (HIGH - LOW))


@pytest.mark.parametrize(
    ("kind", "intercept"), [("int16", 0), ("<i2", -1024), (">i2", 24), ("uint16", -1024), (">u2", -3000), ("f4", 0)]
)
def test_every_integer_within_and_beside_the_window_has_its_level(kind: str, intercept: int) -> None:
    first = max(LOW - 300, intercept) if np.dtype(kind).kind == "u" else LOW - 300
    hounsfield = np.arange(first, HIGH + 300)
    stored = (hounsfield - intercept).astype(kind).reshape(1, -1)
    found, levels = grey_of(stored, intercept=intercept)
    assert found.ravel().tolist() == [level(int(value)) for value in hounsfield]
    assert (levels.lowest, levels.highest) == (hounsfield[0], hounsfield[-1])
    assert np.flatnonzero(levels.counts).tolist() == (hounsfield - LOWEST).tolist()


@given(
    stored=st.sampled_from(["int8", "uint8", "int16", "uint16", ">i2", ">u2"]).flatmap(
        lambda kind: arrays(kind, st.tuples(st.integers(1, 7), st.integers(1, 7)))
    ),
    intercept=st.one_of(st.integers(-70_000, 70_000), st.sampled_from([-0.5, 1e6, -8192.0])),
)
def test_integers_give_what_the_same_numbers_give_as_floats(stored: NDArray[Any], intercept: float) -> None:
    before = stored.copy()
    found, levels = grey_of(stored, intercept=intercept)
    wanted, wanted_levels = grey_of(stored.astype(np.float64), intercept=intercept)
    assert np.array_equal(found, wanted)
    assert np.array_equal(stored, before)
    assert np.array_equal(levels.counts, wanted_levels.counts)
    assert vars(levels) | {"counts": None} == vars(wanted_levels) | {"counts": None}


@given(
    stored=st.sampled_from(["int16", "uint16", ">i2", "int32", "float32"]).flatmap(
        lambda kind: arrays(kind, st.tuples(*3 * [st.integers(1, 5)]), elements=st.integers(0, 3000))
    ),
    slope=st.sampled_from([1.0, 2.0]),
    intercept=st.sampled_from([0.0, -1024.0, 0.5]),
    air=st.sampled_from([(), (500.0, 900.0)]),
)
def test_planes_converted_together_give_what_each_gives_alone(
    stored: NDArray[Any], slope: float, intercept: float, air: tuple[float, ...]
) -> None:
    together, alone = np.empty((2, *stored.shape), dtype=np.uint8)
    levels = stack_to_grey(list(stored), together[::-1], slope, intercept, air)
    wanted = Levels()
    for plane, target in zip(stored, alone, strict=True):
        wanted += to_grey(plane, target, slope, intercept, air)
    assert np.array_equal(together[::-1], alone)
    assert np.array_equal(levels.counts, wanted.counts)
    assert vars(levels) | {"counts": None} == vars(wanted) | {"counts": None}


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_of_a_large_plane_every_third_row_and_column_is_counted(kind: str) -> None:
    stored = np.random.default_rng(0).integers(-1000, 1000, (2, 150, 120)).astype(kind)
    _, levels = grey_of(stored)
    wanted, counts = np.unique(stored[:, ::3, ::3], return_counts=True)
    assert np.flatnonzero(levels.counts).tolist() == (wanted - LOWEST).tolist()
    assert levels.counts[levels.counts > 0].tolist() == counts.tolist()


def test_the_counts_of_a_plane_are_kept_when_the_next_one_is_converted() -> None:
    one, other = np.full((6, 6), -1000, np.int16), np.full((6, 6), 40, np.int16)
    grey, levels = grey_of(one)
    grey_of(other)
    assert set(grey.ravel().tolist()) == {level(-1000)}
    assert np.flatnonzero(levels.counts).tolist() == [-1000 - LOWEST]


def test_planes_converted_in_threads_do_not_share_memory() -> None:
    planes = [np.full((64, 64), hounsfield, np.int16) for hounsfield in range(-1100, 300, 5)]
    voxels = np.empty((len(planes), 64, 64), np.uint8)
    each(lambda index: to_grey(planes[index], voxels[index]), len(planes), 8)
    assert voxels[:, 0, 0].tolist() == [level(hounsfield) for hounsfield in range(-1100, 300, 5)]
    assert (voxels == voxels[:, :1, :1]).all()


def test_a_range_of_stored_values_can_be_taken_as_air() -> None:
    stored = np.array([[0, 63_536, 1024], [1064, 63_000, 64_000]], np.uint16)
    found, levels = grey_of(stored, intercept=-1024, air=(63_000, 64_000))
    assert found.tolist() == [[level(-1024), 0, level(0)], [level(40), 0, 0]]
    assert (levels.lowest, levels.highest) == (LOW, 40)
