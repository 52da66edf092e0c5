"""Checkpoints: one `.safetensors` file, weights and all that is needed to use them. Nothing is ever unpickled."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from cov3d.errors import CheckpointError
from cov3d.files import replacing
from cov3d.models.names import Architecture
from cov3d.preprocess.sizes import Size

if TYPE_CHECKING:  # loaded with weights only: what a checkpoint says of itself is read by commands that compute nothing
    from torch import nn

FORMAT = 1
_KEY = "cov3d"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        architecture: the network.
        model: its arguments.
        size: the size of its input.
        preprocessing: the settings that its volumes were made with.
        categories: names of its outputs.
        task: the task that its epoch was chosen for.
        fold: the fold that it was validated on, and not trained on.
        epoch: the epoch it was saved after, from 1.
        score: macro F1 of the task on that fold at that epoch.
        seed: seed of the run.
        trained_on: fingerprints of the scans trained on, see `fingerprint`.
        lung_share: least and greatest share of lung in the body over the scans trained on; None if unknown.
        experiment: number of the paper's experiment, if it is one.
        temperature: of its probabilities, once one is fitted; see `fit_temperature`.
        started_from: `kind` of weights that training started from (random, kinetics or checkpoint), and where they
            were in a file, its name `file` and its `sha256`; empty if unknown.
        options: every hyper-parameter of the run.
        versions: of cov3d and of the libraries that made it.
    """

    architecture: Architecture
    model: dict[str, Any]
    size: Size
    preprocessing: dict[str, Any]
    categories: tuple[str, ...]
    task: str
    fold: int
    epoch: int
    score: float
    seed: int
    trained_on: tuple[str, ...] = ()
    lung_share: tuple[float, float] | None = None
    experiment: int | None = None
    temperature: float | None = None
    started_from: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def save(file: Path, model: "nn.Module", info: CheckpointInfo) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    from safetensors.torch import save as serialise

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    text = json.dumps({"format": FORMAT, **asdict(info)}, sort_keys=True)
    # Not safetensors' save_file, which makes files that no one else in a team may read.
    content = serialise(weights, metadata={_KEY: text})
    with replacing(file) as aside:
        aside.write_bytes(content)


def write_temperature(file: Path, temperature: float) -> None:
    """Write a temperature into a checkpoint, in place of one that is there; the weights stay as they are.

    The file is replaced whole or not at all, and left alone where it holds the temperature already.

    Raises:
        CheckpointError: the file is missing or not a checkpoint of ours, or the temperature is none.
        OutputError: the file can't be written.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise CheckpointError(f"a temperature is a positive number, not {temperature!r}: {file} stays as it is")
    if read_info(file).temperature == temperature:
        return
    model, info = load(file)
    save(file, model, replace(info, temperature=float(temperature)))


def read_info(file: Path) -> CheckpointInfo:
    """What a checkpoint says of itself, without its weights.

    Raises:
        CheckpointError: the file is missing or not a checkpoint of ours.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint at {file}: give a .safetensors file that cov3d train wrote")
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a checkpoint: it is no whole safetensors file ({error})") from error
    if _KEY not in metadata:
        raise CheckpointError(f"{file} is a safetensors file, but not a checkpoint that cov3d train wrote")
    return _parse(metadata[_KEY], file)


def _parse(text: str, file: Path) -> CheckpointInfo:
    try:
        values = json.loads(text)
        if (version := values.pop("format")) != FORMAT:
            raise CheckpointError(f"{file} has checkpoint format {version}; this version of cov3d reads {FORMAT}")
        if unknown := values.keys() - {item.name for item in fields(CheckpointInfo)}:
            made_by = values.get("versions", {}).get("cov3d", "unknown")
            raise CheckpointError(
                f"{file} was written by another version of cov3d ({made_by}), which says more of it than this one "
                f"understands ({', '.join(sorted(unknown))}): use that version"
            )
        values["architecture"] = Architecture(values["architecture"])
        values["size"] = Size(values["size"])
        values["categories"] = tuple(values["categories"])
        for name in ("trained_on", "lung_share"):  # JSON has no tuples; an older file may lack what has a default
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return CheckpointInfo(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged: its description can't be read ({error})") from error


def load(file: Path) -> tuple["nn.Module", CheckpointInfo]:
    """The network of a checkpoint, on the CPU and in evaluation mode, and what the checkpoint says of itself.

    Raises:
        CheckpointError: the file is missing, not a checkpoint of ours, or its weights do not fit its network.
    """
    from cov3d.models.registry import build

    info = read_info(file)
    try:
        model = build(info.architecture, outputs=len(info.categories), **info.model)
        with safe_open(file, framework="pt", device="cpu") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, TypeError, OSError) as error:
        raise CheckpointError(f"{file} is damaged: its weights do not fit {info.architecture} ({error})") from error
    return model.eval(), info


def fingerprint(scan: str) -> str:
    """Stands for a scan's name where the name itself, which may tell of a person, has no place."""
    return hashlib.sha256(scan.encode()).hexdigest()[:12]


def seen_in_training(info: CheckpointInfo, scans: Iterable[str]) -> int:
    """How many of `scans` a checkpoint was trained on."""
    trained_on = set(info.trained_on)
    return sum(fingerprint(scan) in trained_on for scan in scans)


def versions() -> dict[str, str]:
    """Versions of cov3d and of what it computes with."""
    from importlib.metadata import version

    import torch

    import cov3d

    names = ("torchvision", "fastai", "numpy", "scipy", "scikit-image")
    return {"cov3d": cov3d.__version__, "torch": str(torch.__version__), **{name: version(name) for name in names}}
