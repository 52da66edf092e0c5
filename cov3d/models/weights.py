"""torchvision's Kinetics-400 weights: find, download and read them.

The name of each file ends in the start of its SHA-256, which shows whether the file is intact.
"""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from cov3d.errors import WeightsError
from cov3d.files import replacing, sha256
from cov3d.models.names import Architecture
from cov3d.models.registry import REGISTRY, build

ENVIRONMENT_VARIABLE = "COV3D_WEIGHTS_DIR"

# Errors of torch's restricted unpickler for files that are not weights.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)
_WITHOUT = "give torchvision's own file with --weights FILE, or train from random weights with --no-pretrained"
_SECONDS_OF_SILENCE = 20  # a cluster's node may drop packets without an error
_PIECE = 2**17


def source(architecture: Architecture) -> str:
    """The address of the weights.

    Raises:
        WeightsError: the network has none.
    """
    weights = REGISTRY[architecture].weights
    if weights is None:
        raise WeightsError(f"there are no pretrained weights of {architecture}: train it with --no-pretrained")
    return weights.url


def published() -> list[Architecture]:
    """The networks that have pretrained weights."""
    return [architecture for architecture in Architecture if REGISTRY[architecture].weights is not None]


def file_name(architecture: Architecture) -> str:
    """The name of the file, such as `r3d_18-b3b3357e.pth`."""
    return source(architecture).rpartition("/")[2]


def folders(given: Path | None = None) -> list[Path]:
    """Folders that are searched for weights, in order: the given one, the environment variable's, torch's cache.

    Weights are downloaded to the first.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return list(dict.fromkeys([*([given] if given else []), *([Path(named).expanduser()] if named else []), cache]))


def is_intact(architecture: Architecture, file: Path) -> bool:
    """Whether a file exists and has the checksum of the published one."""
    return file.is_file() and _is_published(architecture, sha256(file))


def find(architecture: Architecture, given: Path | None = None) -> Path | None:
    """The file of weights in the first of `folders` that has one.

    Raises:
        WeightsError: it is not the file that torchvision publishes.
    """
    for folder in folders(given):
        file = folder / file_name(architecture)
        if not file.is_file():
            continue
        if not is_intact(architecture, file):
            raise WeightsError(
                f"{file} is damaged, or not the file that torchvision publishes: its checksum differs from its name; "
                f"fetch it again with cov3d weights --architecture {architecture} --weights-dir {folder}"
            )
        return file
    return None


def find_or_fetch(
    architecture: Architecture,
    given: Path | None = None,
    on_fetch: Callable[[str, Path], Callable[[int, int], None]] | None = None,
) -> Path:
    """The file of weights, fetched if it is in none of `folders`.

    Args:
        architecture: architecture of the network.
        given: folder that is searched first.
        on_fetch: called before a download with address and folder; returns `on_bytes` of `fetch`.

    Raises:
        WeightsError: they are not found and can't be downloaded.
    """
    if (found := find(architecture, given)) is not None:
        return found
    searched = folders(given)
    try:
        on_bytes = on_fetch(source(architecture), searched[0]) if on_fetch else None
        return fetch(architecture, searched[0], on_bytes)
    except WeightsError as error:
        raise WeightsError(
            f"the Kinetics-400 weights of {architecture}, {file_name(architecture)}, are not in "
            f"{' nor in '.join(map(str, searched))}, and {error}: run cov3d weights --architecture {architecture} on a "
            f"machine with a network, such as a cluster's login node; or {_WITHOUT}"
        ) from error


def fetch(architecture: Architecture, folder: Path, on_bytes: Callable[[int, int], None] | None = None) -> Path:
    """Download the weights to a folder. The file is put in place when it is complete and its checksum is right.

    `torch.hub.download_url_to_file` checks the same checksum. It is not used because it waits without limit for a
    server that does not answer, and shows its progress only in its own bar.

    Args:
        architecture: architecture of the network.
        folder: folder to write to; created if missing.
        on_bytes: called during the download with the number of bytes so far and in total (0 if unknown).

    Raises:
        WeightsError: they can't be downloaded, or the file is damaged.
        OutputError: the file can't be written.
    """
    url, file = source(architecture), folder / file_name(architecture)
    digest, done = hashlib.sha256(), 0
    with _reached(url) as answer, replacing(file) as aside:
        total = int(answer.headers.get("Content-Length") or 0)
        with aside.open("wb") as opened:
            while piece := _next_piece(answer, url):
                opened.write(piece)
                digest.update(piece)
                done += len(piece)
                if on_bytes is not None:
                    on_bytes(done, total)
        if not _is_published(architecture, digest.hexdigest()):
            raise WeightsError(f"the download from {url} ({done} bytes) is incomplete or damaged (wrong checksum)")
    return file


def _reached(url: str) -> Any:
    """A server's answer."""
    try:
        return urlopen(Request(url, headers={"User-Agent": "cov3d"}), timeout=_SECONDS_OF_SILENCE)
    except HTTPError as error:
        error.close()
        raise WeightsError(f"they can't be fetched from {url} ({error})") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise WeightsError(f"they can't be fetched from {url} ({reason})") from error


def _next_piece(answer: Any, url: str) -> bytes:
    # Separate from writing the file, which raises OSError too.
    try:
        return answer.read(_PIECE)
    except (OSError, HTTPException) as error:
        raise WeightsError(f"they can't be fetched from {url} ({error})") from error


def _is_published(architecture: Architecture, digest: str) -> bool:
    _, _, start = Path(file_name(architecture)).stem.rpartition("-")
    return digest.startswith(start)


def load(architecture: Architecture, file: Path) -> Mapping[str, Tensor]:
    """The weights in a file from torchvision. Nothing in the file is executed.

    Raises:
        WeightsError: the file is missing, not a file of weights, or has the weights of another network; or this
            network has no pretrained weights.
    """
    if REGISTRY[architecture].weights is None:
        raise WeightsError(f"{file}: there are no pretrained weights of {architecture}; leave out --weights")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file at {file}") from None
    except _UNREADABLE as error:
        raise WeightsError(f"{file} can't be read as a file of weights: {_WITHOUT}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{file} has no weights by name: {_WITHOUT}")
    try:
        with torch.device("meta"):
            build(architecture, outputs=2, kinetics={k: v.to("meta") for k, v in state.items()})
    except (RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{file} does not hold the weights of torchvision's network for {architecture}: {_WITHOUT}"
        ) from error
    return state
