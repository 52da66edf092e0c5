"""In which format should the store keep its volumes? Size on disk, time to write, time to read cold and warm.

    python benchmarks/storage.py
    python benchmarks/storage.py --data FOLDER --sizes medium     also on the scans found in FOLDER

Volumes are phantoms of 60 and of 350 slices, made as scans are: JPEG slices, cropped and resized. A cold read is one
after the system was asked to drop the file from its cache; where it is asked in vain, cold is as warm. All reading is
on one thread, as in a loader's process, and gives an array in memory of its own; then two processes read at once, half
of the volumes each. The best of five runs is taken. Every format must give each volume back as it was.
"""

import argparse
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import imagecodecs
import numpy as np
import zstandard
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.encoding import decode, encode
from cov3d.preprocessing.pipeline import preprocess_scan
from cov3d.preprocessing.sizes import Size
from cov3d.readers import find_scans

Volume = NDArray[np.uint8]
KINDS = {"60 slices": 60, "350 slices": 350}
REPEATS = 5


@dataclass(frozen=True)
class Format:
    """A way to keep a volume in a file.

    Attributes:
        name: what stands in the table.
        write: from the volume to the bytes of the file.
        read: from the file and the volume's shape to the volume.
    """

    name: str
    write: Callable[[Volume], bytes]
    read: Callable[[Path, tuple[int, ...]], Volume]


def npy_write(voxels: Volume) -> bytes:
    """A .npy file."""
    with tempfile.SpooledTemporaryFile(max_size=1 << 30) as stream:
        np.save(stream, voxels)
        stream.seek(0)
        return stream.read()


def npy_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """From the mapped file, as a loader copies it."""
    return np.array(np.load(file, mmap_mode="r"))


def zlib_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """As HDF5 and Zarr with their usual filter."""
    return np.frombuffer(bytearray(zlib.decompress(file.read_bytes())), np.uint8).reshape(shape)


def zstd_write(level: int, voxels: Volume) -> bytes:
    """Zstandard over the plain voxels."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(voxels.tobytes())


def zstd_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """Zstandard over the plain voxels."""
    voxels = np.empty(shape, np.uint8)
    with file.open("rb") as stream:
        zstandard.ZstdDecompressor().stream_reader(stream).readinto(voxels.reshape(-1))
    return voxels


def rows_write(voxels: Volume) -> bytes:
    """Differences along depth, and then along the height."""
    across = voxels.copy()
    across[:, 1:] -= voxels[:, :-1]
    return encode(across)


def rows_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """Undo it row by row, in all slices at once."""
    voxels = decode(file.read_bytes(), (shape[0], shape[1], shape[2]))
    for row in range(1, shape[1]):
        voxels[:, row] += voxels[:, row - 1]
    return voxels


def jpegls_write(voxels: Volume) -> bytes:
    """Each slice as lossless JPEG-LS; their lengths first."""
    slices = [imagecodecs.jpegls_encode(image) for image in voxels]
    return np.array([len(one) for one in slices], "<u4").tobytes() + b"".join(slices)


def jpegls_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """Slice by slice, into place."""
    data, voxels = file.read_bytes(), np.empty(shape, np.uint8)
    start = 4 * shape[0]
    for image, length in zip(voxels, np.frombuffer(data[:start], "<u4"), strict=True):
        imagecodecs.jpegls_decode(data[start : start + int(length)], out=image)
        start += int(length)
    return voxels


def blosc_write(codec: str, level: int, filters: str, voxels: Volume) -> bytes:
    """A Blosc2 frame, in chunks of 32 slices and blocks of one."""
    import blosc2

    parameters = blosc2.CParams(
        codec=blosc2.Codec[codec],
        clevel=level,
        filters=[blosc2.Filter[filters]],
        filters_meta=[0],
        typesize=1,
        nthreads=1,
    )
    depth, height, width = voxels.shape
    chunks, blocks = (min(32, depth), height, width), (1, height, width)
    return blosc2.asarray(voxels, chunks=chunks, blocks=blocks, cparams=parameters).to_cframe()


def blosc_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """A Blosc2 frame, on one thread."""
    import blosc2

    blosc2.set_nthreads(1)
    return blosc2.ndarray_from_cframe(file.read_bytes())[...]


def formats() -> list[Format]:
    """What is compared."""
    found = [
        Format("plain .npy, mapped", npy_write, npy_read),
        Format("zlib 4 (HDF5's gzip)", partial(zlib.compress, level=4), zlib_read),
        Format("Zstandard 1", partial(zstd_write, 1), zstd_read),
        Format("Zstandard 5", partial(zstd_write, 5), zstd_read),
    ]
    try:
        import blosc2  # noqa: F401
    except ImportError:
        Console().print("blosc2 is not installed: left out")
    else:
        for codec, level, filters in (
            *(("LZ4", 5, "NOFILTER"), ("LZ4", 5, "BITSHUFFLE"), ("ZSTD", 1, "NOFILTER")),
            *(("ZSTD", 5, "NOFILTER"), ("ZSTD", 5, "BITSHUFFLE")),
        ):
            shuffled = ", bitshuffle" if filters == "BITSHUFFLE" else ""
            name = f"Blosc2 {codec.lower()} {level}{shuffled}"
            found.append(Format(name, partial(blosc_write, codec, level, filters), blosc_read))
    return [
        *found,
        Format("JPEG-LS, a slice each", jpegls_write, jpegls_read),
        Format("differences along 2 axes", rows_write, rows_read),
        Format("differences (the store's)", encode, store_read),
    ]


def store_read(file: Path, shape: tuple[int, ...]) -> Volume:
    """As `Store.read` does."""
    return decode(file.read_bytes(), (shape[0], shape[1], shape[2]))


def phantoms(folder: Path, each: int) -> Iterator[tuple[str, Path]]:
    """Kind and folder of phantom scans, written as JPEG."""
    for kind, slices in KINDS.items():
        for number in range(each):
            scan = folder / f"{slices}-{number}"
            scan.mkdir(parents=True)
            for index, image in enumerate(make_scan(770 + number, number=number, slices=slices).voxels, start=1):
                Image.fromarray(image).save(scan / f"{index}.jpg", quality=90)
            yield kind, scan


def forget(file: Path) -> None:
    """Ask the system to drop a file from its cache."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def seconds(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The best time of a few runs; `before` each of them, untimed."""
    taken = []
    for _ in range(REPEATS):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def read_all(read: Callable[[Path, tuple[int, ...]], Volume], files: list[Path], shape: tuple[int, ...]) -> None:
    """What one of two processes does."""
    for file in files:
        read(file, shape)


def measure(
    form: Format, volumes: dict[str, list[Volume]], folder: Path, pool: ProcessPoolExecutor
) -> tuple[dict[str, float], list[float]]:
    """The share of the bytes by kind; then, in milliseconds a volume: write, read warm, cold, by two processes both."""
    every = [voxels for kind in volumes.values() for voxels in kind]
    shape = every[0].shape
    files = [folder / f"{number}.bin" for number in range(len(every))]
    for file, voxels in zip(files, every, strict=True):
        file.write_bytes(form.write(voxels))
        assert np.array_equal(form.read(file, shape), voxels), form.name
    share = {
        kind: sum(len(form.write(voxels)) for voxels in some) / sum(voxels.size for voxels in some)
        for kind, some in volumes.items()
    }

    def drop() -> None:
        for file in files:
            forget(file)

    def by_two() -> None:
        halves = files[::2] * 4, files[1::2] * 4
        for done in [pool.submit(read_all, form.read, half, shape) for half in halves]:
            done.result()

    def by_two_once() -> None:
        for done in [pool.submit(read_all, form.read, half, shape) for half in (files[::2], files[1::2])]:
            done.result()

    count = len(files)
    times = [
        seconds(lambda: [form.write(voxels) for voxels in every]) / count,
        seconds(lambda: read_all(form.read, files, shape)) / count,
        seconds(lambda: read_all(form.read, files, shape), before=drop) / count,
        seconds(by_two) / count / 4,
        seconds(by_two_once, before=drop) / count,
    ]
    return share, [1000 * taken for taken in times]


def report(size: Size, scans: list[tuple[str, Path]], folder: Path, console: Console) -> None:
    """Print the table of one size."""
    volumes: dict[str, list[Volume]] = {}
    for kind, scan in track(scans, f"preprocessing, {size}", transient=True, console=console):
        volumes.setdefault(kind, []).append(preprocess_scan(scan, [size]).voxels[size])
    table = Table(title=f"{size}: {'×'.join(map(str, size.shape))}, {np.prod(size.shape) / 1e6:.1f} MB a volume")
    table.add_column("format", no_wrap=True)
    for column in (*volumes, "write", "warm", "cold", "two: warm", "two: cold"):
        table.add_column(column, justify="right", no_wrap=True)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for form in track(formats(), f"measuring, {size}", transient=True, console=console):
            share, times = measure(form, volumes, folder, pool)
            table.add_row(form.name, *(f"{part:.1%}" for part in share.values()), *(f"{taken:.1f}" for taken in times))
    console.print(table)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=2, help="phantoms of each kind (default: 2)")
    parser.add_argument("--sizes", type=Size, nargs="+", default=[Size.MEDIUM, Size.LARGE], help="medium and large")
    parser.add_argument("--data", type=Path, action="append", default=[], help="also measure the scans in this folder")
    parser.add_argument("--folder", type=Path, help="folder on the file system to measure (default: temporary)")
    options = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        scans = list(phantoms(folder / "phantoms", options.phantoms))
        scans += [(data.name, scan) for data in options.data for scan in find_scans([data])]
        for size in options.sizes:
            report(size, scans, folder, console)
    console.print(
        "Bytes as a share of the plain ones, by kind of scan; then milliseconds a volume to write and to read,"
    )
    console.print("in one process and in two at once (the time of both over the volumes of both).")


if __name__ == "__main__":
    main()
