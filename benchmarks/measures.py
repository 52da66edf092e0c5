"""What `train_step.py` measures beside time a step: operations, matrix throughput, memory, the loader's rate."""

import ctypes
import gc
import statistics
from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch
from contenders import DTYPES, Contender, Job, timed
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from cov3d.labels import LABELS
from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.pipeline import preprocess
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training.loaders import Fold, ScanDataset, scan_loader
from cov3d.training.options import TrainingOptions
from cov3d.volume import Volume

SCANS = 8


def phantoms(folder: Path, size: Size) -> Store:
    """A store of phantoms, two different ones under several names: their content is as hard to decode as any."""
    store = Store.create(folder, size)
    resolution, slices = (128, 60) if size in (Size.TINY, Size.SMALL) else (512, 120)
    different = []
    for number in range(2):
        voxels = make_scan(77, number=number, resolution=resolution, slices=slices).voxels
        different.append(preprocess(Volume(voxels=voxels, path=folder, slices_found=slices), [size]))
    for number in range(SCANS):
        store.write(str(number), different[number % 2])
    return store


def fold_of(scans: int) -> Fold:
    """A fold that goes through the scans of such a store again and again, with all labels."""
    rows = [(str(number % SCANS), LABELS[number % len(LABELS)]) for number in range(scans)]
    table = pd.DataFrame(rows, columns=["scan", "label"])
    return Fold(train=table, validation=table[:1])


def make_job(options: TrainingOptions, store: Store, device: torch.device) -> Job:
    """A job with a batch in memory, as the loader gives it."""
    fold = fold_of(options.batch_size)
    cpu = torch.device("cpu")
    voxels, labels = next(
        iter(scan_loader(ScanDataset(fold.train, store), batch_size=options.batch_size, workers=0, device=cpu))
    )
    if device.type == "cuda":
        voxels, labels = voxels.pin_memory(), labels.pin_memory()
    return Job(options, fold, store, (voxels, labels), device)


def loader_seconds(job: Job, workers: int, batches: int) -> float:
    """Seconds a batch of the loader alone, once its workers run: the median of three times through."""
    size = job.options.batch_size
    dataset = ScanDataset(fold_of(size * batches).train, job.store)
    loader = scan_loader(dataset, batch_size=size, workers=workers, device=job.device)

    def go_through() -> None:
        for _ in loader:
            pass

    go_through()
    return statistics.median(timed(job.device, go_through) for _ in range(3)) / batches


def operations(job: Job) -> int:
    """Floating point operations of a step, forward and backward, counted on tensors without content."""
    network = job.network().to("meta").train()
    volumes = torch.empty(job.options.batch_size, 1, *job.options.size.shape, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(volumes).sum().backward()
    return counter.get_total_flops()


def matrix_side(device: torch.device) -> int:
    """The side of the square matrices that are multiplied."""
    return 8192 if device.type == "cuda" else 1024


def matrix_rate(amp: str | None, device: torch.device) -> float:
    """Operations a second of a large matrix product, the best of ten; float32 with TF32, as a card's convolutions."""
    side = matrix_side(device)
    left, right = (torch.randn(side, side, device=device).to(DTYPES[amp]) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        left @ right
        return 2 * side**3 / min(timed(device, lambda: left @ right) for _ in range(10))
    finally:
        torch.set_float32_matmul_precision(before)


class Peak:
    """The most memory in use, in bytes above what was in use when this was made.

    Tensors on a GPU; on a CPU what the process had resident, which also holds what its libraries keep for later.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            self.before = torch.cuda.memory_allocated(device)
        else:
            _give_back()
            self.before = _resident("VmRSS")

    def reset(self) -> None:
        """Forget the most so far."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM, the most so far, becomes what is resident now

    def most(self) -> int:
        """The most since then."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return _resident("VmHWM") - self.before


def _give_back() -> None:
    """Give freed memory back to the system, where its C library can: else the next contender is given it, unseen."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


def profiled(contender: Contender, device: torch.device, steps: int = 5) -> str:
    """Where the time of some steps goes, as torch's profiler has it: by the GPU's time, then by the host's."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        contender.take(steps)
    found = profiler.key_averages()
    orders = ["self_cuda_time_total", "self_cpu_time_total"] if on_gpu else ["self_cpu_time_total"]
    return "\n".join(found.table(sort_by=order, row_limit=40, max_name_column_width=80) for order in orders)
