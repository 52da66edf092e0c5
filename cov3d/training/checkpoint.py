"""Checkpoints: one `.safetensors` file with the weights and all metadata needed to use them. Nothing is unpickled."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from cov3d.errors import CheckpointError
from cov3d.files import replacing
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.checkpoint_schema import GREATEST_TEMPERATURE, LEAST_TEMPERATURE, check_metadata
from cov3d.training.checkpoint_schema import temperature as check_temperature
from cov3d.values import WrongValueError, brief, parse_object

if TYPE_CHECKING:  # needed for weights only: commands that compute nothing read the metadata
    from torch import Tensor, nn

FORMAT = 1
_KEY = "cov3d"


@dataclass(frozen=True)
class CheckpointInfo:
    """The metadata of a checkpoint.

    Attributes:
        architecture: of the network.
        model: arguments of the network.
        size: input size of the network.
        preprocessing: settings of the preprocessed volumes.
        categories: names of the outputs.
        task: the task for which the epoch was selected.
        fold: the validation fold, which was not trained on.
        epoch: the epoch after which the weights were saved, from 1.
        score: macro F1 of the task on the fold at this epoch.
        seed: of the run.
        trained_on: fingerprints of the training scans, see `fingerprint`.
        lung_share: smallest and largest share of lung in the body in the training scans; None if unknown.
        lung_ml: the same of the lung volume, in ml.
        assumed: what had to be assumed about at least one training scan (`orientation`, `window`); None if unknown.
        is_synthetic: whether the training scans were phantoms; None if unknown.
        score_interval: 95 % interval of `score`; None if unknown.
        scored_scans: number of scans that `score` was computed on; None if unknown.
        experiment: number of the paper's experiment, if it is one.
        temperature: for the probabilities, if one was fitted; see `fit_temperature`.
        started_from: `kind` of the initial weights (random, kinetics or checkpoint) and, for weights from a file, its
            name `file` and its `sha256`; empty if unknown.
        options: all hyper-parameters of the run.
        versions: of cov3d and of the libraries used for training.
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
    lung_ml: tuple[float, float] | None = None
    assumed: tuple[str, ...] | None = None
    is_synthetic: bool | None = None
    score_interval: tuple[float, float] | None = None
    scored_scans: int | None = None
    experiment: int | None = None
    temperature: float | None = None
    started_from: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def save(file: Path, model: "nn.Module", info: CheckpointInfo) -> None:
    """Write a checkpoint, completely or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    save_weights(file, model.state_dict(), info)


def save_weights(file: Path, weights: Mapping[str, "Tensor"], info: CheckpointInfo) -> None:
    """Write a checkpoint of weights by name, completely or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    from safetensors.torch import save as serialise

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    text = json.dumps({"format": FORMAT, **asdict(info)}, sort_keys=True)
    # Not safetensors' save_file: its files are not readable for other users of a group.
    content = serialise(weights, metadata={_KEY: text})
    with replacing(file) as aside:
        aside.write_bytes(content)


def write_temperature(file: Path, temperature: float) -> None:
    """Write a temperature into a checkpoint, replacing an earlier one. The weights do not change.

    The file is replaced completely or not at all. It is not written if it already holds the temperature.

    Raises:
        CheckpointError: the file is missing or not a cov3d checkpoint, or the temperature is out of range.
        OutputError: the file can't be written.
    """
    try:
        check_temperature(temperature)
    except WrongValueError:
        raise CheckpointError(
            f"a temperature must be a number from {LEAST_TEMPERATURE:g} to {GREATEST_TEMPERATURE:g}, not "
            f"{temperature!r}: {file} was not changed"
        ) from None
    if read_info(file).temperature == temperature:
        return
    model, info = load(file)
    save(file, model, replace(info, temperature=float(temperature)))


def read_info(file: Path) -> CheckpointInfo:
    """The metadata of a checkpoint, without its weights.

    Raises:
        CheckpointError: the file is missing or not a cov3d checkpoint.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint at {file}: give a .safetensors file that cov3d train wrote")
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not a checkpoint, or is incomplete: {error}") from error
    if _KEY not in metadata:
        raise CheckpointError(f"{file} is a safetensors file, but not a checkpoint that cov3d train wrote")
    return _parse(metadata[_KEY], file)


def _parse(text: str, file: Path) -> CheckpointInfo:
    try:
        values = parse_object(text)
        if (version := values.pop("format", None)) != FORMAT:
            if not isinstance(version, int) or isinstance(version, bool):
                raise WrongValueError(f"format is {brief(version)}, but must be a whole number")
            raise CheckpointError(f"{file} has checkpoint format {version}; this version of cov3d reads {FORMAT}")
        if unknown := values.keys() - {item.name for item in fields(CheckpointInfo)}:
            versions = values.get("versions")
            made_by = versions.get("cov3d", "unknown") if isinstance(versions, dict) else "unknown"
            names = ", ".join(name if name.isprintable() else brief(name) for name in sorted(unknown)[:5])
            raise CheckpointError(
                f"{file} was written by another version of cov3d ({made_by if str(made_by).isprintable() else '?'}) "
                f"and has fields that this version does not know ({names}): use that version"
            )
        name = values.get("architecture")
        if isinstance(name, str) and name.isidentifier() and name not in list(Architecture):
            raise CheckpointError(
                f"{file} has the architecture {brief(name)}, which this installation does not have "
                f"({', '.join(Architecture)}): use the installation that trained it"
            )
        return CheckpointInfo(**check_metadata(values))
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: in its metadata, {error}") from error


def load(file: Path) -> tuple["nn.Module", CheckpointInfo]:
    """Load the network of a checkpoint, on the CPU and in evaluation mode, and the checkpoint's metadata.

    Raises:
        CheckpointError: the file is missing, not a cov3d checkpoint, or its weights do not fit its network.
    """
    from cov3d.models.registry import build

    info = read_info(file)
    model = build(info.architecture, outputs=len(info.categories), **info.model)
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
        _check_weights(weights, model.state_dict())
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, TypeError, ValueError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{file} is damaged, or {info.architecture} was changed since: its weights do not fit {info.architecture} "
            f"({reason})"
        ) from error
    return model.eval(), info


def _check_weights(weights: Mapping[str, "Tensor"], wanted: Mapping[str, "Tensor"]) -> None:
    """Check that weights fit a network: names, shapes and dtypes, and finite values.

    Raises:
        ValueError: they do not; the message names the first wrong weight.
    """
    import torch

    if missing := sorted(wanted.keys() - weights.keys()):
        raise ValueError(f"{missing[0]} is missing")
    if unknown := sorted(weights.keys() - wanted.keys()):
        raise ValueError(f"the network has no {brief(unknown[0])}")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        if tensor.is_floating_point() != wanted[name].is_floating_point() or tensor.is_complex():
            raise ValueError(f"{name} holds numbers of type {tensor.dtype}, not {wanted[name].dtype}")
        if tensor.dtype == torch.bool:
            raise ValueError(f"{name} holds truth values, not numbers")
        as_used = tensor.to(wanted[name].dtype)
        if not torch.isfinite(as_used).all():
            raise ValueError(f"{name} holds values that are not numbers")
        if name.endswith("running_var") and (as_used < 0).any():
            raise ValueError(f"{name} holds variances below 0")


def fingerprint(scan: str) -> str:
    """A hash of a scan's name. It replaces the name, which may identify a person, in checkpoints."""
    return hashlib.sha256(scan.encode()).hexdigest()[:12]


def seen_in_training(info: CheckpointInfo, scan_names: Iterable[str]) -> int:
    """Number of the given scans that a checkpoint was trained on."""
    trained_on = set(info.trained_on)
    return sum(fingerprint(scan) in trained_on for scan in scan_names)


def versions() -> dict[str, str]:
    """Versions of cov3d and of the libraries that it computes with."""
    from importlib.metadata import version

    import torch

    import cov3d

    names = ("torchvision", "fastai", "numpy", "scipy", "scikit-image")
    return {"cov3d": cov3d.__version__, "torch": str(torch.__version__), **{name: version(name) for name in names}}
