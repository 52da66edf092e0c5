"""The learner against fastai's own, and what is said to change the computation but not its result."""

import gc
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.utils.data import DataLoader, TensorDataset

from cov3d.errors import Cov3dError, DeviceMemoryError
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import assemble, memory
from cov3d.training.fit import ScanLearner, adam, compiler_explained, split_by_decay
from cov3d.training.options import Compute, TrainingOptions
from tests.training.test_training import CPU, QUICK, equal, run, weights

Labelled = tuple[Store, pd.DataFrame]


def after_three_epochs(weight_decay: Any, **how: Any) -> dict[str, Tensor]:
    """The weights of a small network after 1cycle through fastai's own loop."""
    rng = torch.Generator().manual_seed(0)
    items = TensorDataset(torch.randn(12, 1, 8, generator=rng), torch.randint(0, 3, (12,), generator=rng))
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv1d(1, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    loader = partial(DataLoader, items, batch_size=4)
    learn = Learner(DataLoaders(loader(), loader()), model, loss_func=nn.CrossEntropyLoss(), **how)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(3, lr_max=1e-2, wd=weight_decay)
    return weights(model)


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_fused_optimiser_is_fastais_adam_within_rounding(decoupled: bool) -> None:
    fastais = after_three_epochs(0.3, opt_func=partial(Adam, decouple_wd=decoupled))
    ours_adam = partial(adam, decoupled_decay=decoupled)
    ours = after_three_epochs([0.3, 0.0], opt_func=ours_adam, splitter=split_by_decay, wd_bn_bias=True, train_bn=False)
    without_decay = after_three_epochs(
        [0.0, 0.0], opt_func=adam, splitter=split_by_decay, wd_bn_bias=True, train_bn=False
    )
    for name, tensor in fastais.items():
        assert torch.allclose(ours[name], tensor, rtol=1e-5, atol=1e-6), name
    assert not torch.allclose(without_decay["0.weight"], fastais["0.weight"], rtol=1e-3, atol=1e-4)


class Gradients(Callback):
    """The gradients of every step that the optimiser takes."""

    order = 100

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[list[Tensor]] = []
        self.error = None

    def before_step(self) -> None:
        self.taken.append([parameter.grad.clone() for parameter in self.learn.model.parameters()])

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("quick_network")
def test_a_callback_is_called_for_the_events_of_its_class_and_those_given_to_it(
    labelled: Labelled, tmp_path: Path
) -> None:
    called: list[str] = []

    def given(self: Callback) -> None:
        called.append("after_step")

    class OfItsClass(Callback):
        error = None

        def before_batch(self) -> None:
            called.append("before_batch")

        def close(self) -> None:
            pass

    added = OfItsClass()
    callback = Callback(after_step=given)  # as fastai's users write it
    callback.error, callback.close = None, lambda: None
    run(labelled, tmp_path / "run", replace(QUICK, epochs=1, batch_size=6), trackers=[added, callback])
    assert called == ["before_batch", "after_step", *["before_batch"] * (called.count("before_batch") - 1)]
    assert called.count("before_batch") > 1  # those of validation


def test_a_callback_that_ended_its_part_takes_part_in_the_next_fit() -> None:
    class Once(Callback):
        fits = 0

        def before_fit(self) -> None:
            self.fits += 1
            self.run = False

    loader = DataLoader(TensorDataset(torch.zeros(4, 2), torch.zeros(4, 1)), batch_size=2)
    learn = ScanLearner(
        DataLoaders(loader, loader), nn.Linear(2, 1), device=CPU, loss_func=nn.MSELoss(), cbs=(once := Once())
    )
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        learn.fit(1)
    assert once.fits == 2


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 4), (2, 2), (3, 2)])
def test_accumulated_batches_are_one_larger_batch(
    labelled: Labelled, tmp_path: Path, batch_size: int, accumulate: int
) -> None:
    # Six scans: a group of four and one of two, or one of six. Steps so small that each epoch finds the same weights.
    options = replace(QUICK, epochs=2, dropout=0.0, reflect=False, brightness=0.0, contrast=0.0, learning_rate=1e-12)
    whole, parts = Gradients(), Gradients()
    run(labelled, tmp_path / "whole", replace(options, batch_size=batch_size * accumulate), trackers=[whole])
    run(labelled, tmp_path / "parts", replace(options, batch_size=batch_size, accumulate=accumulate), trackers=[parts])
    assert len(whole.taken) == len(parts.taken) == 2 * (2 if batch_size * accumulate == 4 else 1)
    for one, other in zip(whole.taken, parts.taken, strict=True):
        for gradient, same in zip(one, other, strict=True):
            assert torch.allclose(gradient, same, rtol=1e-4, atol=1e-7)


def test_less_memory_and_another_layout_train_the_same_network(labelled: Labelled, tmp_path: Path) -> None:
    options = replace(QUICK, batch_size=3, learning_rate=1e-9, dropout=0.0)  # another layout, another draw
    plain = run(labelled, tmp_path / "plain", options)
    forgetful = run(labelled, tmp_path / "forgetful", options, compute=Compute(gradient_checkpointing=True))
    assert equal(weights(plain.model), weights(forgetful.model))
    innermost = run(labelled, tmp_path / "innermost", options, compute=Compute(channels_last=True))
    kernel = innermost.model.state_dict()["layer1.0.0.conv1.0.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    assert not kernel.is_contiguous()
    for losses in ("train_loss", "valid_loss"):
        assert innermost.history[losses].tolist() == pytest.approx(plain.history[losses].tolist(), rel=1e-4)


@pytest.mark.usefixtures("quick_network")
def test_a_compiled_network_keeps_the_names_of_its_weights(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    found = run(labelled, tmp_path / "run", compute=Compute(compile=True))
    assert compiled == [found.model]


def test_a_network_that_cannot_be_compiled_is_one_sentence() -> None:
    sentence = r"--compile: torch can't compile the network .*no compiler"
    with pytest.raises(Cov3dError, match=sentence), compiler_explained():
        raise BackendCompilerFailed("inductor", RuntimeError("no compiler"), None)


def test_the_estimate_of_memory_is_that_of_a_network_worked_out_by_hand() -> None:
    options = TrainingOptions(size=Size.TINY, batch_size=3)
    voxels = 32 * 64 * 64
    model = nn.Sequential(nn.Flatten(), nn.Linear(voxels, 5))
    parameters = voxels * 5 + 5
    kept = 3 * voxels  # the linear layer keeps its input for the gradient of its weights
    assert memory.estimate(model, options, None) == 4 * (4 * parameters + kept + 2 * kept)


def test_more_scans_need_more_memory_and_checkpointing_and_half_precision_less() -> None:
    model = build(Architecture.RESNET, outputs=5, dropout=0.2)
    two, four = TrainingOptions(size=Size.SMALL, batch_size=2), TrainingOptions(size=Size.SMALL, batch_size=4)
    plain = memory.estimate(model, two, None)
    fixed = 16 * sum(parameter.numel() for parameter in model.parameters())
    assert memory.estimate(model, four, None) - fixed == pytest.approx(2 * (plain - fixed), rel=0.01)
    assert memory.estimate(model, two, "bf16") < plain
    assert memory.estimate(model, two, None, checkpointing=True) < 0.8 * plain


@pytest.mark.parametrize(
    ("error", "batch_size", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), 4, "--batch-size 2 --accumulate 2, --gradient-checkpointing"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "try --gradient-checkpointing, or a smaller"),
        (MemoryError(), 2, "--batch-size 1 --accumulate 2, "),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence(error: Exception, batch_size: int, advice: str) -> None:
    options = TrainingOptions(size=Size.LARGE, batch_size=batch_size)
    sentence = rf"{batch_size} scans of size large do not fit into the memory of cpu \(\d+\.\d GiB were free"
    with pytest.raises(DeviceMemoryError, match=f"{sentence}.*{advice}"), memory.explained(options, CPU):
        raise error


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="something else"), memory.explained(QUICK, CPU):
        raise RuntimeError("something else")


@pytest.mark.usefixtures("quick_network")
def test_nothing_of_a_run_is_kept_when_it_has_ended(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[object]] = []
    make = assemble.make_learner

    def noting(*arguments: Any, **how: Any) -> Any:
        made = make(*arguments, **how)
        kept.append(weakref.ref(made))
        return made

    monkeypatch.setattr(assemble, "make_learner", noting)
    gc.disable()  # which would find it some time, or not
    try:
        run(labelled, tmp_path / "run")
        assert [made() for made in kept] == [None]
    finally:
        gc.enable()
