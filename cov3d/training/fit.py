"""The fastai `Learner` of a run: training loop, optimiser and precision.

The loop is fastai's, with five changes: a resumed run starts at a later epoch, batches are copied to the GPU without
waiting, the optimiser may take a step every few batches, the host does not wait until the GPU has finished a step, and
callbacks are called only for the events that they define.
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
    """A `Learner` that can start at a later epoch, and take a step every few batches.

    Attributes:
        first_epoch: number of epochs done before the run was resumed.
        batches_a_step: batches per step of the optimiser.
        device: to compute on.
    """

    def __init__(self, *arguments: Any, device: torch.device, batches_a_step: int = 1, **options: Any) -> None:
        self.first_epoch, self.batches_a_step, self.device = 0, batches_a_step, device
        super().__init__(*arguments, **options)
        self.scaler = None

    def _do_fit(self) -> None:
        # fastai's start_epoch cancels the earlier epochs one by one, which its recorder can't handle.
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            if isinstance(sampler := getattr(self.dls.train, "sampler", None), EpochShuffle):
                sampler.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)

    def _set_device(self, batch: list[Tensor]) -> tuple[Tensor, ...]:
        # fastai's method waits until the batch has arrived.
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)

    @property
    def takes_step(self) -> bool:
        """Whether the optimiser takes a step after this batch: the last of a group, or of the epoch."""
        return (self.iter + 1) % self.batches_a_step == 0 or self.iter + 1 == self.n_iter

    def _do_one_batch(self) -> None:
        later = self.training and isinstance(self.model, DistributedDataParallel) and not self.takes_step
        with self.model.no_sync() if later else nullcontext():  # gradients are exchanged once a step
            super()._do_one_batch()

    def _call_one(self, event_name: str) -> None:
        # fastai looks for every event in every callback, then in the learner and the network: a quarter of its time.
        for callback in self.cbs.sorted("order"):
            if _listens(callback, event_name):
                callback(event_name)

    def _step(self) -> None:
        if self.scaler is None:
            super()._step()
        else:
            self.scaler.step(self.opt.opt)


def _listens(callback: Callback, event_name: str) -> bool:
    """Whether a callback defines an event, or its own call; all are called after a fit, which resets their `run`."""
    own_call = type(callback).__call__ is not Callback.__call__
    defined = event_name in vars(callback) or hasattr(type(callback), event_name)
    return defined or own_call or event_name == "after_fit"


class Accumulate(Callback):
    """One step of the optimiser for several batches, as if they were one batch: each scan has the same weight.

    Unlike in fastai's callback, no gradient is carried over to the next epoch.
    """

    order, run_valid = MixedPrecision.order - 4, False

    def __init__(self, batch_size: int, n_scans: int) -> None:
        super().__init__()
        self.batch_size, self.n_scans = batch_size, n_scans

    def after_loss(self) -> None:
        group_size = self.batch_size * self.learn.batches_a_step
        before_group = self.learn.iter // self.learn.batches_a_step * group_size
        scans_in_group = min(group_size, self.n_scans - before_group)
        self.learn.loss_grad = self.learn.loss_grad * (len(self.learn.yb[0]) / scans_in_group)

    def before_step(self) -> None:
        if not self.learn.takes_step:
            raise CancelBatchException


class _LossFromCallback(AvgSmoothLoss):
    """The smoothed loss of another callback. fastai's own would make the GPU wait at every step."""

    def __init__(self, get_value: Callable[[], float]) -> None:
        super().__init__()
        self.get_value = get_value

    def accumulate(self, learn: Learner) -> None:
        self.count += 1

    @property
    def value(self) -> float:
        return self.get_value()


class HalfPrecision(MixedPrecision):
    """fastai's mixed precision, on any device. Training and validation are both in it.

    fastai asks the scaler at every step whether the gradients overflowed, for which the host must wait. Here the fused
    optimiser skips such a step on the device. So no callback learns of it: `after_cancel_step` is not sent, and
    `before_step` is, with gradients that are not finite.
    """

    def __init__(self, amp: str, device: torch.device) -> None:
        super().__init__(amp_mode=AMPMode(amp))
        self.device_type = device.type

    def before_fit(self) -> None:
        # fastai's is for CUDA only
        dtype = torch.bfloat16 if self.amp_mode == AMPMode.BF16 else torch.float16
        self.autocast = torch.autocast(self.device_type, dtype=dtype)
        self.learn.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == torch.float16)

    def before_step(self) -> None:
        self.scaler.unscale_(self.learn.opt.opt)  # for callbacks that come later, as in fastai

    def after_fit(self) -> None:
        self.learn.scaler = None


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
    """Make a learner.

    Args:
        loaders: of the training and the validation scans.
        model: on its device, wrapped if there are several GPUs.
        loss: computes a scalar from logits and labels.
        device: where the model is.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
        accumulate: batches per step.
        validation: scores each epoch.
        losses: monitors the loss.
        callbacks: all callbacks, including these two.
        decoupled_decay: as in `adam`.
    """
    learn = ScanLearner(
        loaders,
        model,
        device=device,
        batches_a_step=accumulate,
        loss_func=loss.to(device),
        opt_func=partial(adam, decoupled_decay=decoupled_decay),
        splitter=split_by_decay,
        wd_bn_bias=True,  # the splitter excludes them
        train_bn=False,
        metrics=[ValueMetric(partial(validation.macro_f1, task), f"{task}_f1") for task in TASKS],
        cbs=callbacks,
    )
    learn.remove_cbs(learn.cbs.filter(lambda callback: isinstance(callback, ProgressCallback)))
    learn.recorder.smooth_loss = _LossFromCallback(lambda: losses.smooth)
    # fastai's mean gathers from all processes at each batch, but their numbers of batches may differ.
    learn.recorder.loss = ValueMetric(lambda: validation.mean_loss, "valid_loss")
    if amp is not None:
        learn.add_cb(HalfPrecision(amp, device))
    if accumulate > 1:
        learn.add_cb(Accumulate(loaders.train.batch_size, len(loaders.train.sampler)))
    return learn


def split_by_decay(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters with weight decay, and parameters without: biases and norms, as in fastai."""
    without = {id(parameter) for parameter in norm_bias_params(model)}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        [parameter for parameter in parameters if id(parameter) not in without],
        [parameter for parameter in parameters if id(parameter) in without],
    ]


def adam(groups: list[list[nn.Parameter]], lr: float, *, decoupled_decay: bool = False) -> OptimWrapper:
    """PyTorch's fused Adam with the settings of fastai's Adam, equal within rounding, in one kernel.

    Args:
        groups: the parameters.
        lr: learning rate.
        decoupled_decay: apply weight decay to the weights (AdamW), not to the gradient (L2).
    """
    optimiser = torch.optim.AdamW if decoupled_decay else torch.optim.Adam
    return OptimWrapper(
        groups, optimiser, lr=lr, betas=(MOMENTUM, SQUARED_MOMENTUM), eps=EPSILON, weight_decay=0.0, fused=True
    )


def fit(learn: ScanLearner, epochs: int, learning_rate: float, weight_decay: float) -> None:
    """Train with the 1cycle schedule from `learn.first_epoch` to `epochs`."""
    learn.fit_one_cycle(epochs, lr_max=learning_rate, wd=[weight_decay, 0.0])


@contextmanager
def autocast_left(device: torch.device) -> Iterator[None]:
    """Switch mixed precision off when the block ends. fastai does not do so if a forward pass fails.

    Otherwise a later run in this process would use this run's weights in half precision.
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
    """Turn torch's compiler errors into one sentence.

    Raises:
        Cov3dError: torch can't compile the network.
    """
    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().splitlines()[:2])
        raise Cov3dError(f"--compile: torch can't compile the network ({reason}): train without --compile") from error


@contextmanager
def chosen_algorithms(deterministic: bool) -> Iterator[None]:
    """Use deterministic algorithms, or the fastest, while the block runs.

    If torch has no deterministic algorithm for an operation, it uses the one that it has.
    """
    cudnn = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling = memory.fill_uninitialized_memory
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS requires it, before its first use
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    memory.fill_uninitialized_memory = False  # a debugging aid that costs time
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark, enabled = before
        torch.use_deterministic_algorithms(enabled, warn_only=warns_only)
        memory.fill_uninitialized_memory = filling
