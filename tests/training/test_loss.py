"""The loss against the paper's equations, worked out in float64 with NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cov3d.training.loss import FocalEMDLoss

MIXED = [0, 1, 2, 3, 4, 5]
UNEQUAL = (0.5, 1.0, 2.0, 3.5)


def expected(
    logits: np.ndarray, labels: list[int], gamma: float, weight: float, distances: tuple[float, ...], unknown: float
) -> float:
    """Equations 1 to 7, an item at a time, as they are printed."""
    total = 0.0
    for z, label in zip(logits.astype(np.float64), labels, strict=True):
        e = np.exp(z - z.max())
        p = e / e.sum()
        if label == 5:
            positive = p[1:].sum()
            focal = -(p[0] ** gamma) * math.log(positive)
            emd = p[0] * unknown
        else:
            wrong = p.sum() - p[label]
            focal = -(wrong**gamma) * math.log(p[label])
            emd = sum(p[j] * sum(distances[min(j, label) : max(j, label)]) for j in range(5))
        total += (1 - weight) * focal + weight * emd
    return total / len(labels)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("distances", [(1.0,) * 4, UNEQUAL])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_equals_the_equations(
    gamma: float, weight: float, distances: tuple[float, ...], dtype: torch.dtype, tolerance: float
) -> None:
    rng = np.random.default_rng(7)
    loss = FocalEMDLoss(gamma, weight, distances, negative_positive_distance=1.5)
    for _ in range(20):
        labels = MIXED + rng.integers(0, 6, 10).tolist()
        logits = torch.tensor(rng.normal(0, 3, (16, 5)), dtype=dtype)
        wanted = expected(logits.numpy(), labels, gamma, weight, distances, 1.5)
        assert abs(loss(logits, torch.tensor(labels)).item() - wanted) < tolerance


def test_one_item_worked_out_by_hand() -> None:
    # Equal logits: every p is 1/5. Focal of category 2: 0.8² ln 5. EMD: (2 + 1 + 0 + 1 + 2) / 5 = 1.2.
    loss = FocalEMDLoss(gamma=2, emd_weight=0.25)
    assert loss(torch.zeros(1, 5), torch.tensor([2])).item() == pytest.approx(0.75 * 0.64 * math.log(5) + 0.25 * 1.2)
    # Unknown severity: focal 0.2² (−ln 0.8), EMD 0.2.
    assert loss(torch.zeros(1, 5), torch.tensor([5])).item() == pytest.approx(0.75 * 0.04 * -math.log(0.8) + 0.25 * 0.2)


def test_without_focus_and_distance_it_is_cross_entropy() -> None:
    logits = torch.randn(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    labels = torch.arange(64) % 5
    ours = FocalEMDLoss(gamma=0, emd_weight=0)(logits, labels)
    assert ours.item() == pytest.approx(nn.CrossEntropyLoss()(logits, labels).item(), abs=1e-12)


def test_an_item_does_not_depend_on_what_else_is_in_the_batch() -> None:
    # The paper's implementation skipped known items wherever one of unknown severity stood beside them.
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss = FocalEMDLoss()
    alone = [loss(logits[i : i + 1], torch.tensor([i])) for i in MIXED]
    assert loss(logits, torch.tensor(MIXED)).item() == pytest.approx(torch.stack(alone).mean().item(), abs=1e-12)


def test_three_categories_work_as_five_do() -> None:
    loss = FocalEMDLoss(gamma=0, emd_weight=1, distances=(1.0, 2.0))
    # p = 1/3 each: distances from the first are 0, 1, 3; unknown severity (3) costs p_0.
    assert loss(torch.zeros(1, 3), torch.tensor([0])).item() == pytest.approx(4 / 3)
    assert loss(torch.zeros(1, 3), torch.tensor([3])).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_give_finite_values_and_gradients(dtype: torch.dtype, gamma: float) -> None:
    corners = torch.tensor(
        [[80.0 if i == j else -80.0 for i in range(5)] for j in range(5)] + [[-80.0] * 5, [80.0] * 5]
    )
    for label in MIXED:
        logits = corners.to(dtype).requires_grad_()
        value = FocalEMDLoss(gamma=gamma)(logits, torch.full((7,), label))
        value.backward()
        assert torch.isfinite(value)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_a_sure_wrong_answer_still_has_a_gradient() -> None:
    logits = torch.tensor([[80.0, -80.0, -80.0, -80.0, -80.0]], requires_grad=True)
    FocalEMDLoss()(logits, torch.tensor([5])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].item() > 0.5


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-20, 20), min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(0, 5),
    st.floats(0, 5),
    st.floats(0, 1),
)
def test_is_never_negative_and_a_shift_of_all_logits_changes_nothing(
    rows: list[list[float]], label: int, gamma: float, weight: float
) -> None:
    logits, labels = torch.tensor(rows, dtype=torch.float64), torch.full((len(rows),), label)
    loss = FocalEMDLoss(gamma, weight)
    value = loss(logits, labels).item()
    assert value >= 0
    assert loss(logits + 3.0, labels).item() == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    loss = FocalEMDLoss(distances=UNEQUAL)
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.tensor(MIXED)), (logits,))


@pytest.mark.parametrize(
    "arguments", [{"gamma": -1.0}, {"emd_weight": 1.1}, {"emd_weight": float("nan")}, {"distances": ()}]
)
def test_bad_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FocalEMDLoss(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1])),
        (torch.zeros(5), torch.tensor([0])),
        (torch.zeros(2, 5), torch.tensor([0])),
        (torch.zeros(1, 5), torch.tensor([0.0])),
        (torch.zeros(1, 5), torch.tensor([6])),
        (torch.zeros(1, 5), torch.tensor([-1])),
    ],
)
def test_bad_input_is_refused(logits: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must"):
        FocalEMDLoss()(logits, labels)
