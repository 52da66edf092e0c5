"""Put the learner of a run together: loaders, loss, network on its device, callbacks."""

from collections.abc import Sequence
from functools import partial

import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import default_device
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cov3d.labels import CATEGORIES
from cov3d.models.memory import checkpoint_activations
from cov3d.models.names import Architecture
from cov3d.preprocessing.store import Store
from cov3d.training import distributed
from cov3d.training.callbacks import EpochSeeds, LossWatch, PrepareBatch, ReadyValidation, Validation
from cov3d.training.device import amp_mode
from cov3d.training.distributed import ALONE, World
from cov3d.training.fit import ScanLearner, make_learner
from cov3d.training.loaders import EpochShuffle, Fold, ScanDataset, scan_loader
from cov3d.training.loss import FocalEMDLoss
from cov3d.training.options import Compute, TrainingOptions


def assemble(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    model: nn.Module,
    device: torch.device,
    compute: Compute,
    categories: Sequence[str] = CATEGORIES,
    world: World = ALONE,
) -> tuple[ScanLearner, Validation, LossWatch]:
    """Make the learner of a run, and return it with its callbacks for validation and loss.

    The model is moved to the device, and its memory layout is set.
    """
    loaders = _loaders(options, fold, store, device, compute, categories, world)
    loss = _loss(options)
    _use_device(device)
    amp = amp_mode(options.precision, device)
    channels_last = compute.uses_channels_last(amp)
    _lay_out(model, options.architecture, device, compute, channels_last=channels_last)
    validation = Validation(list(fold.validation["scan"]), list(fold.validation["label"]), categories, model, world)
    seeds = EpochSeeds(options.seed, world.rank)
    prepare = PrepareBatch(
        seeds,
        reflect=options.reflect,
        brightness=options.brightness,
        contrast=options.contrast,
        channels_last=channels_last,
    )
    losses = LossWatch(world)
    learn = make_learner(
        loaders,
        _spread(model, device, world),
        loss,
        device=device,
        amp=amp,
        accumulate=options.accumulate,
        validation=validation,
        losses=losses,
        callbacks=[seeds, prepare, losses, validation, ReadyValidation()],
        decoupled_decay=options.decoupled_decay,
    )
    return learn, validation, losses


def _loaders(
    options: TrainingOptions,
    fold: Fold,
    store: Store,
    device: torch.device,
    compute: Compute,
    categories: Sequence[str],
    world: World,
) -> DataLoaders:
    """The loaders of the training scans, shuffled, and of this process's share of the validation scans."""
    training_set = ScanDataset(fold.train, store, categories)
    validation_set = ScanDataset(fold.validation, store, categories)
    loader = partial(scan_loader, workers=compute.workers, device=device)
    order, share = EpochShuffle(len(training_set), options.seed, world), distributed.share(len(validation_set), world)
    size = compute.batch_to_validate(options.batch_size, device.type == "cuda")
    return DataLoaders(
        loader(training_set, batch_size=options.batch_size, sampler=order),
        loader(validation_set, batch_size=size, sampler=share),
    )


def _loss(options: TrainingOptions) -> FocalEMDLoss:
    return FocalEMDLoss(
        gamma=options.gamma,
        emd_weight=options.emd_weight,
        distances=options.distances,
        negative_positive_distance=options.negative_positive_distance,
    )


def _use_device(device: torch.device) -> None:
    """Make torch and fastai use the device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    default_device(use=device.type == "cuda")  # fastai uses this, as plain loaders have no device


def _lay_out(
    model: nn.Module, architecture: Architecture, device: torch.device, compute: Compute, *, channels_last: bool
) -> None:
    """Move the network to the device and set up its computation, in place. The names of its weights do not change."""
    model.to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last_3d)
    if compute.gradient_checkpointing:
        checkpoint_activations(model, architecture)
    if compute.compile:
        model.compile()


def _spread(model: nn.Module, device: torch.device, world: World) -> nn.Module:
    """Wrap the network to exchange gradients between processes; unchanged if there is only one process."""
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,  # no second copy of the gradients
    )
