"""What does a prediction cost, stage by stage, and how much of it is not the network?

    python benchmarks/infer.py                                             two formats, lengths and sizes
    python benchmarks/infer.py --slices 60 --size medium                   a size more
    python benchmarks/infer.py --store --size medium --batch-size 2 8 --precision fp32 bf16 fp16     on a GPU

Stages are timed one after another on one scan in this process: reading (with all threads), lungs and crop, resizing,
the picture, the networks (the crop and its reflection) and the table's row. `predict` is all of it in one call, with a
picture as `infer` draws it; the share that is not the network is measured within that call. The first read of a series
of DICOM files also parses their headers, which are kept for the later ones. Beside is the peak memory of a fresh
process that predicts one scan. Weights are random: they do not change the time.

With --store, volumes of a store are predicted by the code of `infer --from-store`, beside a bare loop over one batch in
memory: the same network, layout and precision, and nothing else.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import DTYPES, timed
from measures import SCANS, phantoms
from PIL import Image
from rich.console import Console
from rich.table import Table

from cov3d.app.options import default_workers
from cov3d.inference.networks import Extras, Networks, load_members
from cov3d.inference.predict import predict_each
from cov3d.inference.stored_scans import stored_scan_batches
from cov3d.labels import CATEGORIES
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.pipeline import locate, settings
from cov3d.preprocessing.preview import preview
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.sizes import Size
from cov3d.readers import dicom_header, dicom_stack, dicom_values, kinds, read_volume
from cov3d.readers.threads import default_threads
from cov3d.training import augment, checkpoint
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.device import amp_mode, choose_device
from cov3d.training.options import Precision

STAGES = ("read", "lungs and crop", "resize", "picture", "network")
SHARE = "not the network"


def write_checkpoint(file: Path, architecture: Architecture, size: Size) -> Path:
    """A checkpoint of random weights."""
    info = CheckpointInfo(
        architecture=architecture,
        model={},
        size=size,
        preprocessing=settings(size),
        categories=CATEGORIES,
        task="presence",
        fold=0,
        epoch=1,
        score=0.5,
        seed=0,
    )
    checkpoint.save(file, build(architecture, outputs=len(CATEGORIES)), info)
    return file


def write_scan(folder: Path, form: str, slices: int) -> Path:
    """A phantom of 512 × 512 pixels as JPEG slices or as a DICOM series."""
    made = make_scan(5, slices=slices)
    folder.mkdir(parents=True)
    for number, plane in enumerate(made.voxels):
        if form == "jpeg":
            Image.fromarray(plane).save(folder / f"{number}.jpg", quality=90)
        else:
            _write_dicom(folder / f"{number}.dcm", plane, number, made.spacing)
    return folder


def _write_dicom(file: Path, plane: np.ndarray, number: int, spacing: tuple[float, float, float]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = "1.2.3", "1.2.3.0", "CT"
    made.InstanceNumber, made.ImagePositionPatient = number + 1, [0, 0, -spacing[0] * number]
    made.ImageOrientationPatient, made.PixelSpacing = [1, 0, 0, 0, 1, 0], list(spacing[1:])
    made.Rows, made.Columns = plane.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
    made.RescaleSlope, made.RescaleIntercept = 1, 0
    made.PixelData = np.rint(plane * (1500 / 255) - 1150).astype("<i2").tobytes()
    made.save_as(file, enforce_file_format=True)


def stages(scan: Path, size: Size, networks: Networks) -> dict[str, float]:
    """Seconds of each stage; of the whole, once more, after their arrays are freed; and what is not the network."""
    found = _stages(scan, size, networks)
    with forward_passes(networks) as inside:
        begun = time.perf_counter()
        list(predict_each({"scan": scan}, networks, threads=default_threads(), batch_size=1, extras=Extras(draw=True)))
        whole = time.perf_counter() - begun
    return {**found, "predict": whole, SHARE: 1 - sum(inside) / whole}


@contextmanager
def forward_passes(networks: Networks) -> Iterator[list[float]]:
    """The seconds of each forward pass in the block."""
    begun: list[float] = []
    seconds: list[float] = []

    def now() -> float:
        if networks.device.type == "cuda":
            torch.cuda.synchronize(networks.device)
        return time.perf_counter()

    hooks = [
        hook
        for member in networks.members
        for hook in (
            member.model.register_forward_pre_hook(lambda *_: begun.append(now())),
            member.model.register_forward_hook(lambda *_: seconds.append(now() - begun.pop())),
        )
    ]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _stages(scan: Path, size: Size, networks: Networks) -> dict[str, float]:
    found: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        found[name] = time.perf_counter() - begun
        return result

    volume = step("read", lambda: read_volume(scan, threads=default_threads()))
    located = step("lungs and crop", lambda: locate(volume))
    voxels, box = located.volume.voxels, located.crop.box
    crop = step("resize", lambda: resize(voxels[box.slices], size.shape))
    step("picture", lambda: preview(voxels, located.segmentation, box, volume.spacing))
    step("network", lambda: networks.probabilities({size: torch.from_numpy(crop)[None, None]}))
    return found


def one_by_one(options: argparse.Namespace, folder: Path) -> Table:
    """A row for each format, number of slices and size."""
    table = Table("format", "slices", "size", "first read", *STAGES, "predict", SHARE, "peak GiB")
    table.title = f"Seconds a scan, {torch.get_num_threads()} threads"
    device = choose_device(options.device)
    scans = {(form, n): write_scan(folder / f"{form}-{n}", form, n) for form in options.format for n in options.slices}
    files = {
        size: write_checkpoint(folder / f"{size}.safetensors", Architecture(options.architecture), size)
        for size in map(Size, options.size)
    }
    rows = {
        (form, n_slices, size): seconds_of(scan, size, Networks(load_members([file], device), device), options.rounds)
        for size, file in files.items()
        for (form, n_slices), scan in scans.items()
    }
    for (form, n_slices, size), cells in rows.items():  # at the end: memory of a process that ends costs the next one
        most = peak(scans[form, n_slices], files[size], options.device)
        table.add_row(form, str(n_slices), size.value, *cells, f"{most:.2f}")
    return table


def seconds_of(scan: Path, size: Size, networks: Networks, rounds: int) -> list[str]:
    """Seconds of the first read, of each stage and of the whole, and the share that is not the network."""
    stages(scan, size, networks)
    dicom_header._kept.clear()
    for known in (dicom_values._converted, dicom_stack.natural, kinds._kind_as_it_is):
        known.cache_clear()
    first = stages(scan, size, networks)["read"]
    found = [stages(scan, size, networks) for _ in range(rounds)]
    *medians, share = (statistics.median(one[name] for one in found) for name in (*STAGES, "predict", SHARE))
    return [*(f"{seconds:.3f}" for seconds in (first, *medians)), f"{share:.1%}"]


_ALONE = """
import sys
import cov3d
cov3d.Predictor(sys.argv[1], device=sys.argv[3]).predict(sys.argv[2])
with open("/proc/self/status") as status:  # getrusage would count what its parent had, too
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024**2)
"""


def peak(scan: Path, file: Path, device: str) -> float:
    """GiB that a fresh process takes at most, to predict one scan."""
    command = [sys.executable, "-c", _ALONE, str(file), str(scan), device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def from_store(options: argparse.Namespace, folder: Path) -> Table:
    """A row for each size, precision and batch: scans a second by `infer --from-store`, and in a bare loop."""
    device = choose_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    table = Table("size", "precision", "batch", "scans a second", "bare loop", "of it")
    table.title = f"Volumes of a store, {name}, torch {torch.__version__}"
    workers = default_workers(None, device.type) or 2
    stores = {size: phantoms(folder / size, size) for size in map(Size, options.size)}
    for (size, store), precision in product(stores.items(), map(Precision, options.precision)):
        file = write_checkpoint(folder / f"{size}.safetensors", Architecture(options.architecture), size)
        amp = amp_mode(precision, device)
        networks = Networks(load_members([file], device, amp=amp), device, amp)
        for batch_size in options.batch_size:
            names = [str(number % SCANS) for number in range(options.scans)]

            def predict(names: list[str] = names, batch_size: int = batch_size, networks: Any = networks) -> None:
                batches = stored_scan_batches(store, names, batch_size=batch_size, threads=workers)  # noqa: B023
                assert all(one.error is None for one in networks.predict_batches(batches))

            bare = Loop(networks, store.read("0"), batch_size, options.scans)
            predict(names[: 2 * batch_size])
            bare()
            rounds = [(timed(device, predict), timed(device, bare)) for _ in range(options.rounds)]
            mine, its = (statistics.median(options.scans / one[place] for one in rounds) for place in (0, 1))
            share = statistics.median(one[1] / one[0] for one in rounds)
            table.add_row(size, amp or "fp32", str(batch_size), f"{mine:.2f}", f"{its:.2f}", f"{share:.3f}")
    return table


class Loop:
    """The network alone over one batch, with its reflection."""

    def __init__(self, networks: Networks, volume: np.ndarray, batch_size: int, scans: int) -> None:
        self.networks, self.n_batches = networks, -(-scans // batch_size)
        self.batch = torch.from_numpy(volume)[None, None].expand(batch_size, -1, -1, -1, -1).contiguous()

    @torch.inference_mode()
    def __call__(self) -> None:
        """Predict all batches."""
        device, amp = self.networks.device, self.networks.amp
        model = self.networks.members[0].model
        for _ in range(self.n_batches):
            volumes = augment.to_network_input(self.batch.to(device))
            with torch.autocast(device.type, DTYPES[amp]) if amp else nullcontext():
                found = [model(volumes), model(augment.reflect(volumes))]
            torch.stack(found).float().softmax(dim=2).mean(dim=0).cpu()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=[*Architecture], default=Architecture.RESNET)
    parser.add_argument("--size", nargs="+", choices=[*Size], default=[Size.TINY, Size.SMALL])
    parser.add_argument("--format", nargs="+", choices=["jpeg", "dicom"], default=["jpeg", "dicom"])
    parser.add_argument("--slices", nargs="+", type=int, default=[60, 350])
    parser.add_argument("--store", action="store_true", help="volumes of a store, beside a bare loop")
    parser.add_argument("--precision", nargs="+", choices=[*Precision], default=[Precision.AUTO])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[2])
    parser.add_argument("--scans", type=int, default=64, help="with --store")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = (from_store if options.store else one_by_one)(options, Path(folder))
    Console(width=None if sys.stdout.isatty() else 150).print(table)


if __name__ == "__main__":
    main()
