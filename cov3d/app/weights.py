"""The weights that training starts from: the command `weights`, which fetches them, and the options of `train`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from torchapp import Param

from cov3d.app import options
from cov3d.app.console import say, say_warning
from cov3d.models.names import Architecture
from cov3d.training.hyper_parameters import MODEL
from cov3d.training.options import TrainingOptions


def weights(
    self: Any,
    architecture: Architecture = Param(
        None, help="The network whose weights to fetch.", show_default="resnet", rich_help_panel=MODEL
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
) -> None:
    """Fetch the Kinetics-400 weights that training starts from, as for a cluster whose GPU nodes have no network.

    Their checksums are verified; files that are there and whole stay.
    """
    from cov3d.errors import Cov3dError
    from cov3d.models import weights as kinetics

    if every and architecture is not None:
        raise Cov3dError("--all and --architecture contradict each other: give one of them")
    folder = kinetics.folders(weights_dir)[0]
    for wanted in Architecture if every else [Architecture(architecture or Architecture.RESNET)]:
        file = folder / kinetics.file_name(wanted)
        if kinetics.is_whole(wanted, file):
            say(f"{wanted}: {file} is there, its checksum verified")
            continue
        if file.exists():
            say_warning(f"{wanted}: {file} is not whole: fetching it again")
        say(f"{wanted}: fetching {kinetics.source(wanted)}")
        with _bytes_shown(file.name) as on_bytes:
            kinetics.fetch(wanted, folder, on_bytes)
        say(f"{wanted}: {file} ({file.stat().st_size / 1e6:.0f} MB), its checksum verified")


def starting_point(
    self: Any,
    chosen: TrainingOptions,
    weights: Path = Param(
        None, help="torchvision's file of Kinetics-400 weights, instead of looking for it.", rich_help_panel=MODEL
    ),
    weights_dir: Path = Param(
        None,
        help="Folder to look for the Kinetics-400 weights in first; cov3d weights fetches them.",
        show_default="$COV3D_WEIGHTS_DIR, then torch's cache",
        rich_help_panel=MODEL,
    ),
    from_checkpoint: Path = Param(
        None,
        help="Start from the network of this checkpoint instead: of any size, and of these categories or STOIC's.",
        rich_help_panel=MODEL,
    ),
) -> Any:
    """The weights that a run of the options `chosen` starts from."""
    from cov3d.errors import Cov3dError
    from cov3d.models import weights as kinetics
    from cov3d.training import start

    given = {"--from-checkpoint": from_checkpoint, "--weights": weights, "--no-pretrained": not chosen.pretrained}
    contradicting = [option for option, value in given.items() if value]
    if len(contradicting) > 1:
        raise Cov3dError(f"{' and '.join(contradicting)} contradict each other: give one of them")
    if from_checkpoint is not None:
        found = start.from_checkpoint(from_checkpoint)
        _say_of_checkpoint(found, chosen)
        return found
    if not chosen.pretrained:
        return start.RANDOM
    if weights is not None:
        return start.from_kinetics(chosen.architecture, weights)
    with _shown_if_fetched() as on_fetch:
        file = kinetics.find_or_fetch(chosen.architecture, weights_dir, on_fetch)
    return start.from_kinetics(chosen.architecture, file)


def _say_of_checkpoint(found: Any, chosen: TrainingOptions) -> None:
    """Say what a checkpoint to start from was trained for, and how that differs from what it will be."""
    from cov3d.training.start import differs_in_preprocessing

    info = found.info
    found.check_architecture(chosen.architecture)
    say(f"starting from {found.file}: {info.architecture} of {len(info.categories)} categories, epoch {info.epoch}")
    if info.size != chosen.size:
        say(f"it was trained at size {info.size} and goes on at {chosen.size}")
    if differs_in_preprocessing(info):
        made_by = info.versions.get("cov3d", "unknown")
        say_warning(f"{found.file} was trained on scans preprocessed otherwise, by version {made_by} of cov3d")


@contextmanager
def _shown_if_fetched() -> Iterator[Callable[[str, Path], Callable[[int, int], None]]]:
    """What says that weights are fetched, if they are, and shows how far that is."""
    with ExitStack() as stack:

        def on_fetch(url: str, folder: Path) -> Callable[[int, int], None]:
            say(f"fetching the Kinetics-400 weights {url} into {folder}")
            return stack.enter_context(_bytes_shown(url.rpartition("/")[2]))

        yield on_fetch


@contextmanager
def _bytes_shown(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes, rate and time left, where stderr is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total or None)
