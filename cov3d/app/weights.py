"""The command `weights`, and the options of what training starts from."""

from pathlib import Path

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import Printer
from cov3d.models.names import Architecture
from cov3d.training.hyper_parameters import MODEL


def weights(
    self: object,
    architecture: Architecture = Param(
        None, help="Network to fetch weights for.", show_default="resnet", rich_help_panel=MODEL
    ),
    every: bool = Param(
        False, param_decls=("--all",), help="Fetch the weights of every network.", rich_help_panel=MODEL
    ),
    weights_dir: Path = Param(
        None,
        help="Folder to put them in.",
        show_default="$COV3D_WEIGHTS_DIR, else torch's cache",
        rich_help_panel=options.OUTPUT,
    ),
) -> list[Path]:
    """Fetch the Kinetics-400 weights that training starts from, as for a cluster whose GPU nodes have no network.

    Their checksums are verified; files that are there and whole stay.
    """
    from cov3d.api.weights import fetch_weights

    return fetch_weights(architecture, every=every, weights_dir=weights_dir, listener=Printer())


def starting_point(
    self: object,
    weights: Path = Param(
        None, help="File of torchvision's Kinetics-400 weights. By default it is looked for.", rich_help_panel=MODEL
    ),
    weights_dir: Path = Param(
        None,
        help="Folder to look for the Kinetics-400 weights in first; cov3d weights fetches them.",
        show_default="$COV3D_WEIGHTS_DIR, then torch's cache",
        rich_help_panel=MODEL,
    ),
    from_checkpoint: Path = Param(
        None,
        help="Start from this checkpoint instead. Its input size may differ; its categories are the dataset's or "
        "STOIC's.",
        rich_help_panel=MODEL,
    ),
) -> dict[str, Path | None]:
    """Declare the options of what training starts from; they are keywords of `cov3d.train`."""
    return {"weights": weights, "weights_dir": weights_dir, "from_checkpoint": from_checkpoint}
