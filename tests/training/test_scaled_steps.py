"""Steps in float16, whose gradients are scaled: what is skipped, and that the host does not wait for the device."""

import pytest
import torch
from fastai.callback.core import Callback, CancelStepException
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import DataLoaders
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from cov3d.training.fit import EPSILON, MOMENTUM, SQUARED_MOMENTUM, HalfPrecision, ScanLearner, adam
from tests.training.test_training import CPU

LEARNING_RATE = 1e-2


def network() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(8, 3)


def batches(inputs: Tensor) -> DataLoader[tuple[Tensor, ...]]:
    labels = torch.arange(len(inputs)) % 3
    return DataLoader(TensorDataset(inputs, labels), batch_size=4)


def learner(inputs: Tensor) -> ScanLearner:
    model = network()
    loaders = DataLoaders(batches(inputs), batches(inputs))
    optimiser = lambda groups, lr: adam([groups], lr)  # noqa: E731
    learn = ScanLearner(loaders, model, device=CPU, loss_func=nn.CrossEntropyLoss(), opt_func=optimiser, train_bn=False)
    learn.add_cb(HalfPrecision("fp16", CPU))
    return learn


def fit(learn: ScanLearner) -> None:
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, lr=LEARNING_RATE)


class NumbersTaken(TorchDispatchMode):
    """Counts tensors that are turned into numbers, for which a host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


class GradientNorms(Callback):
    """The norm of the gradients before each step."""

    order = MixedPrecision.order + 1  # that of fastai's GradientClip

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def before_step(self) -> None:
        self.found.append(float(self.learn.model.weight.grad.norm()))


class Skip(Callback):
    """Skips every step."""

    order = MixedPrecision.order + 1

    def before_step(self) -> None:
        raise CancelStepException


def test_steps_are_those_of_pytorchs_own_loop_with_a_scaler() -> None:
    inputs = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    learn, norms = learner(inputs), GradientNorms()
    learn.add_cb(norms)
    fit(learn)
    wanted = []
    model, scaler = network(), torch.amp.GradScaler("cpu")
    betas = (MOMENTUM, SQUARED_MOMENTUM)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=betas, eps=EPSILON)  # not fused
    for volumes, labels in batches(inputs):
        with torch.autocast("cpu", torch.float16):
            logits = model(volumes)
        scaler.scale(nn.functional.cross_entropy(logits.float(), labels)).backward()
        scaler.unscale_(optimiser)
        wanted.append(float(model.weight.grad.norm()))
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
    for mine, theirs in zip(learn.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-7)
    assert not torch.equal(learn.model.weight, network().weight)
    assert norms.found == pytest.approx(wanted, rel=1e-4)  # not 65,536 times as much


def test_a_step_whose_gradients_overflow_is_skipped_and_the_scale_is_halved() -> None:
    inputs = torch.ones(4, 8)
    inputs[0, 0] = 60_000.0  # below float16's largest number; 65,536 times a gradient is not
    learn = learner(inputs)
    scales: list[float] = []
    update = torch.amp.GradScaler.update

    def noted(scaler: torch.amp.GradScaler) -> None:
        update(scaler)
        scales.append(scaler.get_scale())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.amp.GradScaler, "update", noted)
        fit(learn)
    assert scales == [32_768.0]
    assert torch.equal(learn.model.weight, network().weight)
    assert [float(state["step"]) for state in learn.opt.opt.state.values()] == [0.0, 0.0]


def test_a_callback_can_skip_a_step() -> None:
    learn = learner(torch.randn(8, 8))
    learn.add_cb(Skip())
    fit(learn)
    assert torch.equal(learn.model.weight, network().weight)


def test_the_scaler_takes_no_number_from_the_device() -> None:
    counts = []
    for steps in (2, 5):
        learn = learner(torch.randn(4 * steps, 8))
        learn.remove_cb(learn.recorder)  # in a run, its losses are those of `LossWatch`
        with NumbersTaken() as taken:
            fit(learn)
        counts.append(taken.count)
    assert counts[0] == counts[1]
