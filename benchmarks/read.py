"""What reading a scan costs, stage by stage and format by format, in CPU time on one thread.

The decode floor is imagecodecs alone, on the frames in memory: nothing can be faster. The same volume is then written
in the other formats and read from them.

    python benchmarks/read.py SERIES [--repeats 5]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from cov3d.preprocessing.pipeline import locate
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.sizes import Size
from cov3d.readers import dicom_header, read_volume
from cov3d.readers.dicom_pixels import _decoded, _element, _frame
from cov3d.readers.dicom_slice import Pixels
from cov3d.volume import Volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path, help="a folder with one compressed DICOM series")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    files = sorted(file for file in options.series.iterdir() if file.is_file())
    count = len(files)
    floor = cost(lambda: decode(files), options.repeats, before=lambda: frames_in_memory(files)) / count
    headers = cost(lambda: read_headers(files), options.repeats) / count
    whole = cost(lambda: (dicom_header._kept.clear(), read_volume(options.series, 1)), options.repeats) / count
    print(f"{'decode floor':28}{1e3 * floor:8.2f} ms a slice")
    print(f"{'headers':28}{1e3 * headers:8.2f}")
    print(f"{'DICOM, headers to volume':28}{1e3 * whole:8.2f}   {whole / floor:.2f} times the floor")
    volume = read_volume(options.series, 1)
    with tempfile.TemporaryDirectory() as folder:
        for name, path in written(volume, Path(folder)).items():
            print(f"{name:28}{1e3 * cost(lambda path=path: read_volume(path, 1), options.repeats) / count:8.2f}")
    located = locate(volume)
    print(f"{'lungs and crop':28}{1e3 * cost(lambda: locate(volume), 1) / count:8.2f}")
    inside = located.volume.voxels[located.crop.box.slices]
    print(f"{'resize to medium':28}{1e3 * cost(lambda: resize(inside, Size.MEDIUM.shape), 1) / count:8.2f}")


def cost(work: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None) -> float:
    """The least CPU time of several repeats, seconds."""
    before()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


_frames: dict[Path, tuple[bytes, Pixels]] = {}


def frames_in_memory(files: list[Path]) -> None:
    for file in files:
        pixels = dicom_header.read_slices(file)[0].pixels
        if pixels is None:
            raise SystemExit(f"{file} is not a DICOM slice: give a folder with one compressed series and nothing else")
        _frames[file] = (_frame(_element(file, pixels), pixels), pixels)


def decode(files: list[Path]) -> None:
    for file in files:
        _decoded(*_frames[file])


def read_headers(files: list[Path]) -> None:
    dicom_header._kept.clear()
    for file in files:
        dicom_header.read_slices(file)


def written(volume: Volume, folder: Path) -> dict[str, Path]:
    """The volume in the other formats, by name."""
    hounsfield: NDArray[np.int16] = np.rint(volume.voxels / 0.17 - 1150).astype(np.int16)
    image = SimpleITK.GetImageFromArray(hounsfield[::-1])
    image.SetSpacing((volume.spacing or (1.0, 1.0, 1.0))[::-1])
    found = {}
    for name, suffix, compress in (
        ("NIfTI", ".nii", False),
        ("NIfTI, gzip", ".nii.gz", True),
        ("MetaImage", ".mha", False),
        ("MetaImage, compressed", ".z.mha", True),
        ("NRRD", ".nrrd", False),
        ("NRRD, gzip", ".z.nrrd", True),
    ):
        found[name] = folder / f"scan{suffix}"
        SimpleITK.WriteImage(image, str(found[name]), useCompression=compress)
    for name, suffix in (("JPEG slices", "jpg"), ("PNG slices", "png")):
        found[name] = folder / suffix
        found[name].mkdir()
        for number, plane in enumerate(volume.voxels, start=1):
            Image.fromarray(plane).save(found[name] / f"{number}.{suffix}")
    return found


if __name__ == "__main__":
    main()
