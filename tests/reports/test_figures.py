"""Axes of the curves of a run, whatever its history holds."""

import numpy as np
import pandas as pd
import pytest

from cov3d.reports import figures


def history(train: list[float], valid: list[float], presence: list[float]) -> pd.DataFrame:
    """The history of a run; severity was never scored."""
    columns = {"train_loss": train, "valid_loss": valid, "presence_f1": presence, "severity_f1": np.nan}
    return pd.DataFrame({"epoch": range(1, len(train) + 1), **columns})


def test_one_epoch_has_an_axis_of_one_epoch() -> None:
    losses, scores = figures.curves(history([0.998], [0.993], [0.4])).axes
    for axes in (losses, scores):
        low, high = axes.get_xlim()
        assert (low, high) == (0.5, 1.5)
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
    low, high = losses.get_ylim()
    assert low == 0
    assert 1.0 < high < 1.5
    assert scores.get_ylim() == (0, 1.03)


@pytest.mark.parametrize("epochs", [2, 3, 50])
def test_epochs_are_whole_and_losses_that_hardly_change_start_at_0(epochs: int) -> None:
    steady = [0.9931 + 0.0001 * epoch for epoch in range(epochs)]
    losses, _ = figures.curves(history(steady, steady, [0.5] * epochs)).axes
    low, high = losses.get_xlim()
    assert 1 - low == pytest.approx(high - epochs)
    assert low <= 0.5
    assert high - low < 1.1 * epochs + 1
    assert all(tick == round(tick) for tick in losses.get_xticks())
    assert losses.get_ylim()[0] == 0


def test_losses_that_fall_keep_a_close_axis() -> None:
    losses, _ = figures.curves(history([0.9, 0.5], [0.95, 0.6], [0.5, 0.6])).axes
    assert 0.3 < losses.get_ylim()[0] < 0.5


def test_the_ring_is_round_the_best_epoch_that_was_scored() -> None:
    _, scores = figures.curves(history([1.0, 1.0, 1.0], [np.nan] * 3, [np.nan, 0.75, 0.5])).axes
    (ring,) = [line for line in scores.lines if line.get_fillstyle() == "none"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.75)
