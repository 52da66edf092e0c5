"""What does preprocessing cost beside decoding? Stage by stage, as ratios to the floor, with memory and processes.

    python benchmarks/preprocess.py                    phantoms of 60, 350 and 700 slices
    python benchmarks/preprocess.py --data SCAN ...    also these scans

The floor is decoding every slice once with the library that the reader uses, in one thread, into one buffer. Everything
is measured in one run on the same scan, alternating, and the best of the repeats is taken. Memory is the peak of a
fresh process that preprocesses one scan, start-up included. Boxes are measured by `benchmarks/boxes.py`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.batch import preprocess_scans
from cov3d.preprocessing.executors import this_process
from cov3d.preprocessing.pipeline import Preprocessed, locate, preprocess_scan
from cov3d.preprocessing.preview import preview
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.readers import read_volume

STAGES = ("floor", "decode", "segment", "resize", "preview", "write", "total")


def floor(scan: Path) -> None:
    """Decode every slice once."""
    import simplejpeg

    buffer = None
    for file in sorted(scan.glob("*.jpg")):
        content = file.read_bytes()
        if buffer is None:
            height, width, _, _ = simplejpeg.decode_jpeg_header(content)
            buffer = np.empty((height, width, 1), dtype=np.uint8)
        simplejpeg.decode_jpeg(content, colorspace="GRAY", buffer=buffer)


def stages(scan: Path, size: Size, store: Store) -> list[float]:
    """Seconds of each stage, once, and of the whole, once more."""
    seconds: list[float] = []

    def timed(work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begun)
        return result

    def whole() -> Preprocessed:
        done = preprocess_scan(scan, [size], draw=True)
        store.write("scan", done)
        return done

    timed(lambda: floor(scan))
    volume = timed(lambda: read_volume(scan, threads=1))
    located = timed(lambda: locate(volume))
    voxels, box = located.volume.voxels, located.crop.box
    timed(lambda: resize(voxels[box.slices], size.shape))
    timed(lambda: preview(voxels, located.segmentation, box))
    done = preprocess_scan(scan, [size], draw=True)
    timed(lambda: store.write("scan", done))
    timed(whole)
    return seconds


def speed(scans: dict[str, Path], sizes: list[Size], repeats: int, folder: Path) -> Table:
    """A row a scan and size: seconds of each stage, and their ratio to the floor."""
    table = Table("scan", "size", *STAGES, "total / floor", title="Seconds, one thread")
    with this_process():  # as a process of `cov3d preprocess` works
        for name, scan in scans.items():
            for size in sizes:
                store = Store.create(folder / f"store-{size}", size)
                stages(scan, size, store)
                taken = np.min([stages(scan, size, store) for _ in range(repeats)], axis=0)
                ratio = taken[-1] / taken[0]
                table.add_row(name, size.value, *(f"{value:.3f}" for value in taken), f"{ratio:.2f}")
    return table


def memory(scans: dict[str, Path], size: Size, folder: Path) -> Table:
    """Peak memory of a process that preprocesses one scan, as a worker does."""
    table = Table("scan", "size", "peak memory, MB", title="A worker's memory")
    for name, scan in scans.items():
        command = [sys.executable, "-c", ONE, str(scan), str(folder / "memory" / name), size.value]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        table.add_row(name, size.value, f"{float(peak):.0f}")
    return table


ONE = """
import sys
from pathlib import Path
from cov3d.preprocessing.batch import preprocess_scans
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
size = Size(sys.argv[3])
preprocess_scans({"scan": Path(sys.argv[1])}, Store.create(Path(sys.argv[2]), size))
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak before the exec
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def processes(scan: Path, count: int, jobs: int, folder: Path) -> Table:
    """The rate with one process and with several, over equal scans, start-up taken off."""
    table = Table("processes", "seconds for a scan", "times one", title=f"{count} equal scans, size small")
    rates: list[float] = []
    for workers in (1, jobs):
        rates.append(seconds_a_scan(scan, count, workers, folder))
        table.add_row(str(workers), f"{rates[-1]:.3f}", f"{rates[0] / rates[-1]:.2f}")
    return table


def seconds_a_scan(scan: Path, count: int, workers: int, folder: Path) -> float:
    """Wall-clock seconds for each of `count` scans, counted from when every worker has done one or two."""
    stamps: list[tuple[float, int]] = []
    names = {str(number): scan for number in range(count + 2 * workers)}
    store = Store.create(folder / f"jobs-{workers}", Size.SMALL)
    preprocess_scans(
        names, store, jobs=workers, on_scan=lambda outcome: stamps.append((time.perf_counter(), len(outcome.done)))
    )
    begun = next(stamp for stamp in stamps if stamp[1] >= 2 * workers)
    return (stamps[-1][0] - begun[0]) / (stamps[-1][1] - begun[1])


def phantom(folder: Path, slices: int) -> Path:
    """A phantom of 512 pixels as a folder of JPEG slices."""
    scan = folder / f"phantom-{slices}"
    scan.mkdir()
    for number, image in enumerate(make_scan(901, number=slices, resolution=512, slices=slices).voxels, start=1):
        Image.fromarray(image).save(scan / f"{number}.jpg", quality=90)
    return scan


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of JPEG slices to measure as well")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scans", type=int, default=40, help="equal scans for the rate of several processes")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = {f"{slices} slices": phantom(folder, slices) for slices in (60, 350, 700)}
        everything = scans | {str(scan): scan for scan in options.data}
        console.print(speed(everything, [Size.SMALL, Size.MEDIUM, Size.LARGE], options.repeats, folder))
        console.print(memory(everything, Size.MEDIUM, folder))
        console.print(processes(scans["60 slices"], options.scans, options.jobs, folder))


if __name__ == "__main__":
    main()
