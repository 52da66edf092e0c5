"""Labels, grey levels, errors: the words of the field."""

import numpy as np
import pytest

from cov3d import errors
from cov3d.labels import CATEGORIES, LABELS, label_index
from cov3d.volume import Volume, hounsfield_to_grey


def test_labels_are_numbered_as_in_the_paper() -> None:
    assert [label_index(label) for label in LABELS] == [0, 1, 2, 3, 4, 5]
    assert CATEGORIES == ("non-covid", "mild", "moderate", "severe", "critical")


def test_unknown_severity_is_one_past_the_last_output_whatever_the_categories() -> None:
    assert label_index("covid", ("negative", "not-severe", "severe")) == 3


def test_a_foreign_label_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'bad'"):
        label_index("bad")


@pytest.mark.parametrize(("hounsfield", "grey"), [(-1150.0, 0.0), (350.0, 255.0), (-400.0, 127.5), (-1000.0, 25.5)])
def test_the_window_maps_hounsfield_units_to_grey_levels(hounsfield: float, grey: float) -> None:
    assert hounsfield_to_grey(hounsfield) == pytest.approx(grey)


@pytest.mark.parametrize("voxels", [np.zeros((2, 2)), np.zeros((2, 2, 2)), np.zeros((0, 2, 2), np.uint8)])
def test_a_volume_of_another_kind_is_refused(voxels: np.ndarray, tmp_path: object) -> None:
    with pytest.raises(ValueError, match="uint8 array with three axes"):
        Volume(voxels=voxels, path=tmp_path, slices_found=2)  # type: ignore[arg-type]


def test_every_error_of_ours_is_one_that_the_command_line_catches() -> None:
    ours = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(ours) == 15
    assert all(issubclass(error, errors.Cov3dError) for error in ours)
