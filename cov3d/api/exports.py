"""`export`: a checkpoint as a file for programs without cov3d."""

from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api.arguments import choice
from cov3d.errors import OutputError
from cov3d.inference.export_format import ExportFormat
from cov3d.listener import SILENT, Listener

if TYPE_CHECKING:
    from cov3d.inference.export import Exported


def export(
    checkpoint: str | Path,
    *,
    form: str = "onnx",
    output: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> "Exported":
    """Write a checkpoint as ONNX or as a `torch.export` file: `uint8` crop in, probabilities out.

    The file contains the scaling, the reflection, the softmax and the temperature. Its metadata hold the preprocessing
    settings and the categories.

    Args:
        checkpoint: the checkpoint.
        form: `onnx` or `torch`.
        output: the file to write; None for one beside the checkpoint.
        overwrite: whether to replace an earlier file.
        listener: hears what is done.

    Raises:
        CheckpointError: the file is no checkpoint.
        Cov3dError: a package is missing, or the exported network does not give the same probabilities.
        OutputError: the file is there, or can't be written.
    """
    from cov3d.inference import export as exporter

    wanted = choice(ExportFormat, form, "form")
    source = Path(checkpoint)
    to = source.with_suffix(wanted.suffix) if output is None else Path(output)
    if to.suffix != wanted.suffix:
        raise OutputError(f"{to}: a file of format {wanted} ends in {wanted.suffix}")
    if to.exists() and not overwrite:
        raise OutputError(f"{to} exists: give another --output, or --overwrite")
    with listener.stoppable("nothing is written"):
        found = exporter.export(source, to, wanted)
    listener.say(f"{found.file}: probabilities differ from cov3d's by at most {found.difference:.1g}")
    return found
