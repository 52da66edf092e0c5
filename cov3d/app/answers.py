"""The commands `explain` and `export`: a check of explanations, and networks for programs without cov3d."""

from pathlib import Path
from typing import TYPE_CHECKING

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import RESEARCH_ONLY, Printer, out, say
from cov3d.inference.export_format import ExportFormat

if TYPE_CHECKING:
    from cov3d.api.explanations import SanityResult
    from cov3d.inference.export import Exported


def explain(
    self: object,
    checkpoint: Path = Param(..., help="The checkpoint.", rich_help_panel=options.INPUT),
    sanity: bool = Param(
        False, help="Explain synthetic scans with lesions in one lung, and report how often that lung is named."
    ),
    scans: int = Param(20, min=2, help="Number of synthetic scans."),
    seed: int = Param(1000, min=0, help="Of the synthetic scans."),
    device: str = options.device(),
) -> "SanityResult":
    """Check a network's explanations: do they find lesions whose place is known, and an untrained network's not?

    To explain scans: cov3d infer --explain.
    """
    from cov3d.api.explanations import explain_sanity
    from cov3d.errors import Cov3dError
    from cov3d.reports.tables import sanity_table

    if not sanity:
        raise Cov3dError("give --sanity to check explanations on synthetic scans; to explain scans: infer --explain")
    found = explain_sanity(checkpoint, scans=scans, seed=seed, device=device, listener=Printer())
    out().print(sanity_table(found.trained, found.untrained))
    say("passed" if found.is_passed else "not passed: do not rely on this network's explanations")
    say(RESEARCH_ONLY)
    return found


def export(
    self: object,
    checkpoint: Path = Param(..., help="The checkpoint.", rich_help_panel=options.INPUT),
    form: ExportFormat = Param(
        ExportFormat.ONNX,
        param_decls=("--format",),
        help="onnx (needs pip install 'cov3d[onnx]') or torch (a torch.export file).",
        rich_help_panel=options.OUTPUT,
    ),
    output: Path = Param(
        None, help="The file to write.", show_default="beside the checkpoint", rich_help_panel=options.OUTPUT
    ),
    overwrite: bool = options.overwrite(),
) -> "Exported":
    """Write a network for programs without cov3d: crop in, probabilities out.

    The file contains all between a preprocessed crop and its probabilities. Its metadata state the preprocessing.
    """
    from cov3d.api.exports import export as write

    return write(checkpoint, form=form, output=output, overwrite=overwrite, listener=Printer())
