"""The fastai `Learner` of a run: its loop, its optimiser, its precision.

fastai's loop is kept. What differs is said where it does: where it begins when resumed, how a batch reaches the GPU,
when the optimiser takes a step, and that a step does not make the GPU wait for the host.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback, CancelBatchException, CancelEpochException
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  adds fit_one_cycle to Learner
from fastai.data.core import DataLoaders
from fastai.learner import AvgSmoothLoss, Learner, ValueMetric
from fastai.optimizer import OptimWrapper
from fastai.torch_core import norm_bias_params
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.nn.parallel import DistributedDataParallel

from cov3d.errors import Cov3dError
from cov3d.labels import TASKS
from cov3d.training.callbacks import LossWatch, Validation
from cov3d.training.loaders import EpochShuffle

MOMENTUM, SQUARED_MOMENTUM, EPSILON = 0.95, 0.99, 1e-5
"""β1 (the 1cycle schedule moves it), β2 and ε of fastai's Adam."""


class ScanLearner(Learner):
    """A `Learner` that can begin at a later epoch, and take a step every few batches.

    Attributes:
        first_epoch: epochs done before, by a run that is resumed.
        batches_a_step: batches to a step of the optimiser.
        device: what it computes on.
    """

    def __init__(self, *arguments: Any, device: torch.device, batches_a_step: int = 1, **options: Any) -> None:
        self.first_epoch, self.batches_a_step, self.device = 0, batches_a_step, device
        super().__init__(*arguments, **options)

    def _do_fit(self) -> None:
        # fastai's own start_epoch goes through the epochs before as cancelled ones, which its recorder does not bear.
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            if isinstance(sampler := getattr(self.dls.train, "sampler", None), EpochShuffle):
                sampler.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)

    def _set_device(self, batch: list[Tensor]) -> tuple[Tensor, ...]:
        # fastai's own waits until the batch has arrived.
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)

    @property
    def takes_step(self) -> bool:
        """Whether the optimiser takes a step after this batch: the last of a group, or of the epoch."""
        return (self.iter + 1) % self.batches_a_step == 0 or self.iter + 1 == self.n_iter

    def _do_one_batch(self) -> None:
        later = self.training and isinstance(self.model, DistributedDataParallel) and not self.takes_step
        with self.model.no_sync() if later else nullcontext():  # gradients are exchanged once a step
            super()._do_one_batch()


class Accumulate(Callback):
    """One step of the optimiser for several batches, as if they were one: each scan counts the same.

    Unlike fastai's, no gradient is carried from one epoch into the next.
    """

    order, run_valid = MixedPrecision.order - 4, False

    def __init__(self, batch_size: int, scans: int) -> None:
        super().__init__()
        self.batch_size, self.epoch_scans = batch_size, scans

    def after_loss(self) -> None:
        of_group = self.batch_size * self.learn.batches_a_step
        begun = self.learn.iter // self.learn.batches_a_step * of_group
        self.learn.loss_grad = self.learn.loss_grad * (len(self.learn.yb[0]) / min(of_group, self.epoch_scans - begun))

    def before_step(self) -> None:
        if not self.learn.takes_step:
            raise CancelBatchException


class _Known(AvgSmoothLoss):
    """What another callback knows, in the place of a mean that fastai would make the GPU wait for at every step."""

    def __init__(self, value: Callable[[], float]) -> None:
        super().__init__()
        self.known = value

    def accumulate(self, learn: Learner) -> None:
        self.count += 1

    @property
    def value(self) -> float:
        return self.known()


def make_learner(
    loaders: DataLoaders,
    model: nn.Module,
    loss: nn.Module,
    *,
    device: torch.device,
    amp: str | None,
    accumulate: int,
    validation: Validation,
    losses: LossWatch,
    callbacks: list[Callback],
    decoupled_decay: bool = False,
) -> ScanLearner:
    """Put a learner together.

    Args:
        loaders: of the training and the validation scans.
        model: on its device, wrapped for several GPUs where there are.
        loss: logits, labels → scalar.
        device: where the model is.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
        accumulate: batches to a step.
        validation: scores each epoch.
        losses: follows the loss.
        callbacks: ours, these two among them.
        decoupled_decay: as of `adam`.
    """
    learn = ScanLearner(
        loaders,
        model,
        device=device,
        batches_a_step=accumulate,
        loss_func=loss.to(device),
        opt_func=partial(adam, decoupled_decay=decoupled_decay),
        splitter=decayed_and_spared,
        wd_bn_bias=True,  # the splitter spares them
        train_bn=False,
        metrics=[ValueMetric(partial(validation.macro_f1, task), f"{task}_f1") for task in TASKS],
        cbs=callbacks,
    )
    learn.remove_cbs(learn.cbs.filter(lambda callback: isinstance(callback, ProgressCallback)))
    learn.recorder.smooth_loss = _Known(lambda: losses.smooth)
    # fastai's own mean would gather from all processes at each batch, and they have not equally many.
    learn.recorder.loss = ValueMetric(lambda: validation.mean_loss, "valid_loss")
    if amp is not None:
        mixed = MixedPrecision(amp_mode=AMPMode(amp))
        mixed.run_valid = False  # in float32, as inference is: a score must be the one that the checkpoint gives again
        learn.add_cb(mixed)
    if accumulate > 1:
        learn.add_cb(Accumulate(loaders.train.batch_size, len(loaders.train.sampler)))
    return learn


def decayed_and_spared(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters that weight decay pulls at, and those that it spares as fastai does: biases and norms."""
    spared = {id(parameter) for parameter in norm_bias_params(model)}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        [parameter for parameter in parameters if id(parameter) not in spared],
        [parameter for parameter in parameters if id(parameter) in spared],
    ]


def adam(groups: list[list[nn.Parameter]], lr: float, *, decoupled_decay: bool = False) -> OptimWrapper:
    """PyTorch's fused Adam with the settings of fastai's, which it equals within rounding, in one kernel for all.

    Args:
        groups: the parameters.
        lr: learning rate.
        decoupled_decay: weight decay shrinks the weights (AdamW) instead of being added to the gradient (L2).
    """
    optimiser = torch.optim.AdamW if decoupled_decay else torch.optim.Adam
    return OptimWrapper(
        groups, optimiser, lr=lr, betas=(MOMENTUM, SQUARED_MOMENTUM), eps=EPSILON, weight_decay=0.0, fused=True
    )


def fit(learn: ScanLearner, epochs: int, learning_rate: float, weight_decay: float) -> None:
    """1cycle from `learn.first_epoch` to `epochs`; weight decay as the optimiser was made to apply it."""
    learn.fit_one_cycle(epochs, lr_max=learning_rate, wd=[weight_decay, 0.0])


@contextmanager
def autocast_left(device: torch.device) -> Iterator[None]:
    """Leave mixed precision however the block ends: fastai does not where a forward pass fails.

    A later run in this process would otherwise go on with this one's weights in half precision.
    """
    try:
        yield
    finally:
        if torch.is_autocast_enabled(device.type):
            torch.set_autocast_enabled(device.type, False)
            while torch.autocast_decrement_nesting() > 0:
                pass
            torch.clear_autocast_cache()


@contextmanager
def compiler_explained() -> Iterator[None]:
    """Turn a network that torch can't compile into one sentence.

    Raises:
        Cov3dError: that sentence.
    """
    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().splitlines()[:2])
        raise Cov3dError(f"--compile: torch can't compile the network here ({reason}): train without it") from error


@contextmanager
def chosen_algorithms(deterministic: bool) -> Iterator[None]:
    """Algorithms that give the same result every time, or the fastest; as before afterwards.

    Where torch has none that does, it takes the one that it has.
    """
    cudnn = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling = memory.fill_uninitialized_memory
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for, before it is first used
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    memory.fill_uninitialized_memory = False  # finds mistakes in kernels, and costs time
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark, enabled = before
        torch.use_deterministic_algorithms(enabled, warn_only=warns_only)
        memory.fill_uninitialized_memory = filling
