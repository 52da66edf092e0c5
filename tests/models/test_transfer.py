"""The head for STOIC's categories → the head for ours: at the start, what the network says is what it said."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from cov3d.errors import CheckpointError
from cov3d.labels import CATEGORIES
from cov3d.models.transfer import counterparts, map_head

STOIC = ("non-covid", "covid-not-severe", "covid-severe")


def three_of_five(probabilities: Tensor) -> Tensor:
    """Non-COVID, mild or moderate, severe or critical."""
    p = probabilities
    return torch.stack([p[..., 0], p[..., 1] + p[..., 2], p[..., 3] + p[..., 4]], dim=-1)


def test_each_row_goes_where_the_paper_sends_it_and_gives_half_of_its_probability() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    mapped, bias = map_head(weight, torch.tensor([0.5, 1.0, -1.0]), STOIC, CATEGORIES)
    assert mapped.tolist() == [[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [5.0, 6.0], [5.0, 6.0]]
    assert bias.tolist() == pytest.approx([0.5, 1 - 0.693147, 1 - 0.693147, -1.693147, -1.693147], abs=1e-6)


@given(logits=arrays(np.float32, (4, 3), elements=st.floats(-30, 30, width=32)))
def test_for_any_logits_the_five_probabilities_summed_are_the_three(logits: np.ndarray) -> None:
    logits = torch.from_numpy(logits)
    # The logits are the head's weights on four features, each of which is one of four scans' only one.
    weight, bias = map_head(logits.T.contiguous(), torch.zeros(3), STOIC, CATEGORIES)
    five = (torch.eye(4) @ weight.T + bias).softmax(dim=-1)
    assert torch.allclose(three_of_five(five), logits.softmax(dim=-1), rtol=0, atol=1e-6)
    assert torch.equal(five[:, 1], five[:, 2])
    assert torch.equal(five[:, 3], five[:, 4])


@pytest.mark.parametrize("categories", [STOIC, CATEGORIES])
def test_a_head_of_the_same_categories_stays(categories: tuple[str, ...]) -> None:
    weight, bias = torch.rand(len(categories), 7), torch.rand(len(categories))
    mapped = map_head(weight, bias, categories, categories)
    assert torch.equal(mapped[0], weight)
    assert torch.equal(mapped[1], bias)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (CATEGORIES, STOIC),
        (("non-covid", "covid-severe", "covid-not-severe"), CATEGORIES),
        (("benign", "malignant"), CATEGORIES),
        (STOIC, (*CATEGORIES[:3], "critical", "severe")),
    ],
)
def test_categories_that_are_not_known_to_go_over_are_refused(theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    with pytest.raises(CheckpointError, match=f"{', '.join(theirs)} can't be mapped to {', '.join(ours)}: only"):
        counterparts(theirs, ours)
