"""torchvision's Kinetics-400 weights: from its cache or its server, or from a file given by the user."""

import pickle
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from cov3d.errors import WeightsError
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build

# What torch's restricted unpickler raises on a file that is not one of weights, whatever is in it.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)
_WITHOUT = "give torchvision's own file with --weights FILE, or train from random weights with --no-pretrained"


def source(architecture: Architecture) -> str:
    """Where the weights come from."""
    return REGISTRY[architecture].weights.url


def cached_file(architecture: Architecture) -> Path:
    """Where torch keeps the weights once they were fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / source(architecture).rpartition("/")[2]


def fetch(architecture: Architecture) -> Mapping[str, Tensor]:
    """The Kinetics-400 weights from torch's cache, or fetched into it, their checksum verified as they arrive.

    Raises:
        WeightsError: they can't be had.
    """
    url = source(architecture)
    try:
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (*_UNREADABLE, HTTPException) as error:
        raise WeightsError(
            f"the Kinetics-400 weights are not in {cached_file(architecture)} and can't be fetched from {url} "
            f"({error}): {_WITHOUT}"
        ) from error
    return _fitting(architecture, state, url)


def load(architecture: Architecture, file: Path) -> Mapping[str, Tensor]:
    """The weights in a file as torchvision publishes it. Nothing in the file is executed.

    Raises:
        WeightsError: the file is missing, is no such file, or is of another network.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file at {file}") from None
    except _UNREADABLE as error:
        raise WeightsError(f"{file} can't be read as a file of weights: {_WITHOUT}") from error
    return _fitting(architecture, state, str(file))


def _fitting(architecture: Architecture, state: object, origin: str) -> Mapping[str, Tensor]:
    if not isinstance(state, Mapping):
        raise WeightsError(f"{origin} holds no weights by name: {_WITHOUT}")
    try:
        with torch.device("meta"):
            build(architecture, outputs=2, kinetics={k: v.to("meta") for k, v in state.items()})
    except (RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{origin} does not hold the weights of torchvision's network for {architecture}: {_WITHOUT}"
        ) from error
    return state
