"""The scores of a run in half precision, computed again in float32 with the weights that it saved.

During the run, the epochs are validated in the run's precision, and the best one is chosen by these scores. What is
reported of it is what `validate` gives for its checkpoint, so the tables, the checkpoints' metadata and the summary are
of float32. In a run in float32 there is nothing to do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cov3d.evaluation.predictions import save_predictions
from cov3d.run_files import checkpoint_name, validation_table
from cov3d.training import augment, distributed
from cov3d.training.callbacks import EpochResult, Validation
from cov3d.training.distributed import World
from cov3d.training.journal import SaveCheckpoint


def rescore(
    folder: Path,
    validation: Validation,
    best: Mapping[str, EpochResult],
    loader: "DataLoader[tuple[Tensor, Tensor]]",
    save_checkpoint: SaveCheckpoint,
    *,
    device: torch.device,
    world: World,
) -> tuple[dict[str, EpochResult], EpochResult | None]:
    """Validate the last epoch and each task's best epoch in float32, and write the checkpoints and tables again.

    All processes must call this. The network has the weights of the last epoch before and after. It can be repeated:
    the same weights give the same files.

    Args:
        folder: of the run.
        validation: has the network and the result of the last epoch.
        best: result of each task's best epoch, in the run's precision.
        loader: of this process's share of the validation scans.
        save_checkpoint: writes a checkpoint.
        device: to compute on.
        world: the processes.

    Returns:
        The results in float32: of each task's best epoch, and of the last epoch.

    Raises:
        OutputError: a file can't be written.
    """
    network, last = validation.network, validation.result
    weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    known: dict[int, EpochResult] = {}

    def scored(epoch: int) -> EpochResult:
        if epoch not in known:
            probabilities = float32_probabilities(network, loader, len(validation.labels), device, world)
            known[epoch] = validation.score(epoch, probabilities)
        return known[epoch]

    last_result = None if last is None else scored(last.epoch)
    results: dict[str, EpochResult] = {}
    with distributed.first_before_others(world):
        pass  # the first process has written the checkpoints
    loaded = {task: _weights(folder, task) for task in best}
    for task, result in best.items():
        network.load_state_dict(loaded[task])
        results[task] = scored(result.epoch)
        if world.is_first:
            save_checkpoint(folder / checkpoint_name(task), task, results[task], loaded[task])
            save_predictions(results[task].table, folder / validation_table(task))
    network.load_state_dict(weights)
    return results, last_result


def _weights(folder: Path, task: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / checkpoint_name(task))


def float32_probabilities(
    network: torch.nn.Module,
    loader: "DataLoader[tuple[Tensor, Tensor]]",
    n_scans: int,
    device: torch.device,
    world: World,
) -> Any:
    """Probabilities of all validation scans, float32 (scans, categories), averaged over reflection."""
    network.eval()
    found = []
    with torch.inference_mode():
        for voxels, _ in loader:
            volumes = augment.to_network_input(voxels.to(device, non_blocking=True))
            found.append(augment.reflected_probabilities(network, volumes))
    return distributed.gather(torch.cat(found).cpu(), n_scans, world).numpy()
