"""Export a checkpoint for programs without cov3d: a `uint8` crop in, probabilities out.

The exported network contains the scaling, the reflection, the softmax and the temperature. Preprocessing is not part of
it; its settings are in the metadata.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cov3d
from cov3d.errors import Cov3dError
from cov3d.files import replacing
from cov3d.inference.export_format import ExportFormat
from cov3d.models.names import Architecture
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.checkpoint import CheckpointInfo

METADATA_KEY = "cov3d"
"""Key of the JSON in ONNX's `metadata_props`, and name of the extra file in a `.pt2` file."""

INPUT, OUTPUT = "crop", "probabilities"
_OPSET = 20


class Deployed(nn.Module):
    """A network with everything between a crop and its probabilities.

    Maps `uint8` crops (batch, 1, depth, height, width) to float32 probabilities (batch, categories): the mean of the
    crop and its reflection, at the checkpoint's temperature.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, crop: Tensor) -> Tensor:
        """Probabilities of a batch of crops."""
        return reflected_probabilities(self.model, to_network_input(crop), temperature=self.temperature)


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        file: that was written.
        difference: largest difference of a probability from cov3d's own, over a few random crops.
    """

    file: Path
    difference: float


def metadata(info: CheckpointInfo) -> dict[str, Any]:
    """What a program that uses the file must know, as plain values for JSON."""
    return {
        "cov3d": cov3d.__version__,
        "use": "research only, not for clinical decisions",
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": ["batch", 1, *info.size.shape],
            "axes": "head to feet, front to back, the patient's right to left",
            "preprocessing": info.preprocessing,
        },
        "output": {"name": OUTPUT, "categories": list(info.categories)},
        "architecture": info.architecture.value,
        "size": info.size.value,
        "task": info.task,
        "fold": info.fold,
        "epoch": info.epoch,
        "score": None if info.score != info.score else info.score,
        "is_synthetic": info.is_synthetic,
        "temperature": info.temperature or 1.0,
    }


def export(file: Path, to: Path, form: ExportFormat) -> Exported:
    """Export a checkpoint.

    Args:
        file: the checkpoint.
        to: the file to write.
        form: its format.

    Raises:
        CheckpointError: the checkpoint can't be read.
        Cov3dError: a package is missing, or the exported network does not give the same probabilities.
        OutputError: the file can't be written.
    """
    model, info = checkpoint.load(file)
    network = Deployed(model.eval(), info.temperature or 1.0).eval()
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (2, 1, *info.size.shape), dtype=torch.uint8, generator=generator)
    text = json.dumps(metadata(info))
    with torch.inference_mode():
        wanted = network(crops)
    with replacing(to) as aside:
        run = (_to_onnx if form == ExportFormat.ONNX else _to_torch)(network, crops, info, text, aside)
        with torch.no_grad():
            difference = float((run(crops) - wanted).abs().max())
        if not difference <= 1e-4:
            raise Cov3dError(f"the exported network differs from {file} by {difference:.2g}: nothing was written")
    return Exported(to, difference)


def _to_torch(
    network: nn.Module, crops: Tensor, info: CheckpointInfo, text: str, file: Path
) -> Callable[[Tensor], Tensor]:
    program = _program(network, crops)
    with file.open("wb") as stream:
        torch.export.save(program, stream, extra_files={METADATA_KEY: text})
    with file.open("rb") as stream:
        return torch.export.load(stream).module()


def _program(network: nn.Module, crops: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=1024)
    return torch.export.export(network, (crops,), dynamic_shapes=({0: batch},))


def _to_onnx(
    network: nn.Module, crops: Tensor, info: CheckpointInfo, text: str, file: Path
) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise Cov3dError(f"{error.name} is not installed: pip install 'cov3d[onnx]', or give --format torch") from error
    # The optimiser does not end for Swin's many constants; a runtime optimises by itself.
    program = torch.onnx.export(
        network,
        (crops,),
        dynamo=True,
        opset_version=_OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        optimize=info.architecture != Architecture.SWIN,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = text
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(given: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: given.numpy()})[0])

    return run
