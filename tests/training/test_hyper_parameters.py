"""A hyper-parameter stands once: its field gives the option, the help, the check and the range of the search."""

import inspect
from dataclasses import dataclass

import pytest

from cov3d.app import declarations
from cov3d.app.app import Cov3d
from cov3d.errors import Cov3dError
from cov3d.training.dimensions import Numbers
from cov3d.training.hyper_parameters import Bounds, check_bounds, hyper, hyper_parameters
from cov3d.training.options import Compute, TrainingOptions
from cov3d.training.search_space import RANGES


@dataclass(frozen=True)
class Rehearsal:
    """Options with a new one."""

    smoothing: float = hyper(
        0.1, "Share of each label given to all.", bounds=Bounds(0, 1, high_open=True), search=Numbers(0.0, 0.3)
    )
    sharp: bool = hyper(False, "Whether.")


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        (Bounds(0), (0, 0.5, 1e9), (-1e-9, float("inf"), float("nan")), "0 or more"),
        (Bounds(0, low_open=True), (1e-9,), (0, -1), "above 0"),
        (Bounds(0, 1), (0, 1), (-0.1, 1.1), "from 0 to 1"),
        (Bounds(0, 1, high_open=True), (0, 0.999), (1,), "from 0 to below 1"),
        (Bounds(0, 2**32 - 1), (2**32 - 1,), (2**32,), "from 0 to 4294967295"),
    ],
)
def test_bounds_hold_what_their_words_say(
    bounds: Bounds, inside: tuple[float, ...], outside: tuple[float, ...], words: str
) -> None:
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)
    assert str(bounds) == words


def test_a_new_field_is_an_option_and_is_checked() -> None:
    found = declarations.signature(Rehearsal).parameters
    assert found["smoothing"].annotation is float
    assert found["smoothing"].default.help == "Share of each label given to all; from 0 to below 1."
    assert found["smoothing"].default.show_default == "0.1"
    assert found["sharp"].default.show_default == "no-sharp"
    check_bounds(Rehearsal(0.0))
    with pytest.raises(Cov3dError, match="--smoothing must be from 0 to below 1, not 1"):
        check_bounds(Rehearsal(1.0))


def test_every_field_is_a_hyper_parameter_with_help_and_an_option_of_train() -> None:
    declared = inspect.signature(Cov3d().train).parameters
    for options in (TrainingOptions, Compute):
        found = hyper_parameters(options)
        assert list(found) == list(options.__dataclass_fields__)
        for name, (_, reported) in found.items():
            assert reported.help.endswith(".")
            assert declared[name].default.help.startswith(reported.help.removesuffix("."))
            assert declared[name].default.rich_help_panel == reported.panel


def test_what_may_be_searched_is_within_the_bounds() -> None:
    assert len(RANGES) == 8
    for name, dimension in RANGES.items():
        for end in dimension.ends():
            TrainingOptions(**{name: end})
