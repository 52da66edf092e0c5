"""Temperature scaling: what is fitted is what is applied, and a table of known temperature gives it back."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

from cov3d.errors import PredictionsError
from cov3d.evaluation.crossval import Calibration
from cov3d.evaluation.predictions import prediction_table
from cov3d.evaluation.temperature import HIGHEST, LOWEST, fit_temperature, negative_log_likelihood, scale
from cov3d.labels import CATEGORIES, LABELS, STOIC_CATEGORIES
from cov3d.training.augment import reflect, reflected_probabilities


def overconfident(scans: int, factor: float, categories: tuple[str, ...] = CATEGORIES) -> pd.DataFrame:
    """Labels drawn from probabilities, and predictions whose logits are `factor` times as large."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (scans, len(categories)))
    labels = [rng.choice(len(categories), p=p) for p in softmax(logits, axis=1)]
    names = [categories[label] if label == 0 or rng.random() < 0.7 else "covid" for label in labels]
    probabilities = softmax(factor * logits, axis=1).astype(np.float32)
    return prediction_table([f"scan {n}" for n in range(scans)], probabilities, categories, labels=names)


@pytest.mark.parametrize("categories", [CATEGORIES, STOIC_CATEGORIES])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_a_table_overconfident_is_found(factor: float, categories: tuple[str, ...]) -> None:
    found = fit_temperature(overconfident(3000, factor, categories), categories)
    assert found.value == pytest.approx(factor, rel=0.1)
    assert found.after <= found.before
    assert (found.scans, found.at_bound) == (3000, False)


def test_no_other_temperature_is_better() -> None:
    table = overconfident(200, 2.0)
    found = fit_temperature(table, CATEGORIES)
    p = table.filter(like="p_").to_numpy()
    labels = np.array([LABELS.index(label) for label in table["label"]])
    assert found.before == pytest.approx(negative_log_likelihood(p, labels))
    for temperature in (LOWEST, 1.0, *np.linspace(0.9, 1.1, 21) * found.value, HIGHEST):
        assert negative_log_likelihood(scale(p, temperature), labels) >= found.after - 1e-12


def test_the_likelihood_of_unknown_severity_is_that_of_being_positive() -> None:
    p = np.array([[0.2, 0.1, 0.3, 0.3, 0.1], [0.2, 0.1, 0.3, 0.3, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1]])
    found = negative_log_likelihood(p, np.array([5, 2, 0]))
    assert found == pytest.approx(-(math.log(0.8) + math.log(0.3) + math.log(0.6)) / 3)


def test_a_probability_of_nought_is_unlikely_and_not_impossible() -> None:
    table = prediction_table(["a", "b"], np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], "f4"), CATEGORIES)
    found = fit_temperature(table.assign(label=["covid", "mild"]), CATEGORIES)
    assert math.isfinite(found.after)
    assert found.value > 1


def test_where_every_scan_is_right_the_bound_is_reached_and_reported() -> None:
    table = prediction_table(["a", "b"], np.array([[0.8, 0.2, 0, 0, 0], [0.3, 0.7, 0, 0, 0]]), CATEGORIES)
    found = fit_temperature(table.assign(label=["non-covid", "covid"]), CATEGORIES)
    assert found.value == pytest.approx(LOWEST)
    assert found.at_bound


def test_what_is_fitted_on_a_table_is_what_a_network_is_given() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 3 * 4, 5))
    volumes = 4 * torch.rand(6, 1, 2, 3, 4)
    with torch.inference_mode():
        plain = reflected_probabilities(network, volumes)
        scaled = reflected_probabilities(network, volumes, temperature=1.7)
        both = torch.stack([network(volumes), network(reflect(volumes))]).softmax(dim=2).mean(dim=0)
    assert torch.equal(plain, both)
    assert scaled.numpy() == pytest.approx(scale(plain.numpy(), 1.7), abs=1e-6)
    assert scaled.sum(dim=1).numpy() == pytest.approx(1, abs=1e-6)
    assert scaled[:, 1:].argmax(1).tolist() == plain[:, 1:].argmax(1).tolist()


def test_without_labels_there_is_nothing_to_fit() -> None:
    table = prediction_table(["a"], np.full((1, 5), 0.2), CATEGORIES, labels=[""])
    with pytest.raises(PredictionsError, match="no scan has a label"):
        fit_temperature(table, CATEGORIES)


def _table(right: int, wrong: int, sure: float) -> pd.DataFrame:
    """So many scans called right and wrong, each with the probability `sure`."""
    labels = ["non-covid", "mild"] * ((right + wrong) // 2)
    probabilities = np.full((len(labels), len(CATEGORIES)), (1 - sure) / 4)
    for number, label in enumerate(labels):
        true = CATEGORIES.index(label)
        probabilities[number, true if number < right else 1 - true] = sure
    return prediction_table(
        [f"scan_{number}" for number in range(len(labels))], probabilities, CATEGORIES, labels=labels
    )


@pytest.mark.parametrize(
    ("right", "wrong", "sure", "value", "reported"),
    [
        (40, 0, 0.6, LOWEST, "0 of 40 predictions are wrong, too few to fit a temperature"),
        (
            0,
            40,
            0.6,
            HIGHEST,
            "40 of 40 predictions are wrong, and the probabilities fit the labels no better than equal",
        ),
    ],
)
def test_a_temperature_at_an_end_of_its_range_says_why(
    right: int, wrong: int, sure: float, value: float, reported: str
) -> None:
    found = fit_temperature(_table(right, wrong, sure), CATEGORIES)
    assert (found.value, found.wrong, found.at_bound) == (pytest.approx(value), wrong, True)
    assert reported in found.why_at_bound
    assert reported in Calibration(found, {}, None, None, None, None).harm


def test_a_temperature_inside_its_range_has_nothing_to_say() -> None:
    found = fit_temperature(_table(30, 10, 0.95), CATEGORIES)
    assert (found.at_bound, found.wrong, found.why_at_bound) == (False, 10, "")


def test_any_severity_is_right_where_none_is_known() -> None:
    table = _table(40, 0, 0.6).assign(label="covid")  # half of them were called non-COVID
    assert fit_temperature(table, CATEGORIES).wrong == 20
