"""The weights that training starts from: `fetch_weights`, and what `train` looks for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.errors import Cov3dError
from cov3d.listener import SILENT, Listener
from cov3d.models.names import Architecture
from cov3d.training.options import TrainingOptions

if TYPE_CHECKING:
    from cov3d.training.start import Start


def fetch_weights(
    architecture: str | None = None,
    *,
    every: bool = False,
    weights_dir: str | Path | None = None,
    listener: Listener = SILENT,
) -> list[Path]:
    """Fetch the Kinetics-400 weights that training starts from, and verify their checksums.

    Files that are there and intact stay.

    Args:
        architecture: the network; None for resnet.
        every: fetch the weights of every network that has some.
        weights_dir: folder to put them in; None for `$COV3D_WEIGHTS_DIR`, else torch's cache.
        listener: hears what is fetched.

    Returns:
        The files.

    Raises:
        Cov3dError: there is no such network, or both it and `every` are given.
        WeightsError: the network has no pretrained weights, or they can't be fetched.
        OutputError: a file can't be written.
    """
    from cov3d.models import weights as kinetics

    if every and architecture is not None:
        raise Cov3dError("--all and --architecture cannot be combined: give one of them")
    folder = kinetics.folders(None if weights_dir is None else Path(weights_dir))[0]
    wanted = kinetics.published() if every else [_architecture(architecture or Architecture.RESNET)]
    return [_fetch_one(one, folder, listener) for one in wanted]


def _architecture(name: str) -> Architecture:
    try:
        return Architecture(name)
    except ValueError:
        raise Cov3dError(f"architecture is one of {', '.join(Architecture)}, not {name!r}") from None


def _fetch_one(wanted: Architecture, folder: Path, listener: Listener) -> Path:
    from cov3d.models import weights as kinetics

    file = folder / kinetics.file_name(wanted)
    if kinetics.is_intact(wanted, file):
        listener.say(f"{wanted}: {file} is there, its checksum verified")
        return file
    if file.exists():
        listener.warn(f"{wanted}: {file} is damaged: it is downloaded again")
    listener.say(f"{wanted}: fetching {kinetics.source(wanted)}")
    with listener.download(file.name) as on_bytes:
        kinetics.fetch(wanted, folder, on_bytes)
    listener.say(f"{wanted}: {file} ({file.stat().st_size / 1e6:.0f} MB), its checksum verified")
    return file


def starting_point(
    options: TrainingOptions,
    *,
    weights: str | Path | None = None,
    weights_dir: str | Path | None = None,
    from_checkpoint: str | Path | None = None,
    listener: Listener = SILENT,
) -> "Start":
    """The weights that a run of these options starts from.

    Args:
        options: of the run: the network, and whether it starts from pretrained weights.
        weights: File of torchvision's Kinetics-400 weights. By default it is looked for.
        weights_dir: folder to look for that file in first, and to fetch it into.
        from_checkpoint: a checkpoint to start from instead.
        listener: hears what is fetched, and how a checkpoint differs from what will be trained.

    Raises:
        Cov3dError: more than one of these is given.
        WeightsError: the weights are nowhere and can't be fetched, or do not fit the network.
        CheckpointError: the checkpoint can't be read, or is of another network.
    """
    from cov3d.models import weights as kinetics
    from cov3d.training import start

    given = {"--from-checkpoint": from_checkpoint, "--weights": weights, "--no-pretrained": not options.pretrained}
    contradicting = [option for option, value in given.items() if value]
    if len(contradicting) > 1:
        raise Cov3dError(f"{' and '.join(contradicting)} cannot be combined: give one of them")
    if from_checkpoint is not None:
        found = start.from_checkpoint(Path(from_checkpoint))
        _say_of_checkpoint(found, options, listener)
        return found
    if not options.pretrained:
        return start.RANDOM
    if weights is not None:
        return start.from_kinetics(options.architecture, Path(weights))
    if options.architecture not in kinetics.published():
        listener.warn(
            f"there are no pretrained weights of {options.architecture}: training starts from random weights, as with "
            "--no-pretrained"
        )
        return start.RANDOM
    with _heard_if_fetched(listener) as on_fetch:
        folder = None if weights_dir is None else Path(weights_dir)
        file = kinetics.find_or_fetch(options.architecture, folder, on_fetch)
    return start.from_kinetics(options.architecture, file)


def _say_of_checkpoint(found: "Start", options: TrainingOptions, listener: Listener) -> None:
    """Say what a checkpoint to start from was trained for, and how that differs from what it will be."""
    from cov3d.training.start import differs_in_preprocessing

    info = found.info
    found.check_architecture(options.architecture)
    if info is None:
        return
    listener.say(
        f"starting from {found.file}: {info.architecture} of {len(info.categories)} categories, epoch {info.epoch}"
    )
    if info.size != options.size:
        listener.say(f"it was trained at size {info.size} and continues at {options.size}")
    if differs_in_preprocessing(info):
        made_by = info.versions.get("cov3d", "unknown")
        listener.warn(f"{found.file} was trained on scans preprocessed otherwise, by version {made_by} of cov3d")


@contextmanager
def _heard_if_fetched(listener: Listener) -> Iterator[Callable[[str, Path], Callable[[int, int], None]]]:
    """What says that weights are fetched, if they are, and how far that is."""
    with ExitStack() as stack:

        def on_fetch(url: str, folder: Path) -> Callable[[int, int], None]:
            listener.say(f"fetching the Kinetics-400 weights {url} into {folder}")
            return stack.enter_context(listener.download(url.rpartition("/")[2]))

        yield on_fetch
