"""The preprocessing of one scan: segment, crop, resize. `cov3d preprocess` and `cov3d infer` both use it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.preprocessing import crop as cropping
from cov3d.preprocessing import grid, lungs
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.order import is_feet_first
from cov3d.preprocessing.overrides import Override
from cov3d.preprocessing.preview import preview
from cov3d.preprocessing.record import ScanRecord
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.signs import find_signs
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.zones import lung_zones
from cov3d.readers import read_volume
from cov3d.volume import WINDOW_HU, Geometry, Volume

ALGORITHM = 3
"""Increased whenever the code changes the voxels of the result."""

FEET_FIRST = "slices stored feet first: order reversed"
NO_LUNGS = "no lungs found: the whole body is kept"
OVERRIDDEN = "box given by a person"


@dataclass(frozen=True)
class Preprocessed:
    """A scan ready for a network.

    Attributes:
        voxels: `uint8` arrays of (depth, height, width), by size.
        record: the scan's record, without its name.
        preview: a small picture of the scan and its crop (WebP), if requested.
        zones: the lung zone of each voxel (see `zones.lung_zones`), by size, if requested.
        geometry: where the scan's voxels are in its file and in the patient; None if unknown.
    """

    voxels: dict[Size, NDArray[np.uint8]]
    record: ScanRecord
    preview: bytes | None = None
    zones: dict[Size, NDArray[np.uint8]] = field(default_factory=dict)
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Located:
    """A scan with its masks and crop. The slices are reversed if they were stored feet first."""

    volume: Volume
    segmentation: lungs.Segmentation
    crop: cropping.Crop


def locate(volume: Volume) -> Located:
    """Find the lungs of a volume and its crop box."""
    segmentation = lungs.segment(volume.voxels)
    if is_feet_first(segmentation):
        geometry = volume.geometry and volume.geometry.turned()
        notes = (*volume.notes, FEET_FIRST)
        volume = replace(volume, voxels=volume.voxels[::-1], notes=notes, geometry=geometry)
        segmentation = segmentation.turned()
    depth, height, width = volume.voxels.shape
    return Located(volume, segmentation, cropping.find_crop(segmentation, (depth, height, width)))


def preprocess(
    volume: Volume,
    sizes: Iterable[Size],
    *,
    override: Box | None = None,
    draw: bool = False,
    find_zones: bool = False,
) -> Preprocessed:
    """Crop a volume to its lungs and resize it to each of `sizes`.

    Args:
        volume: the scan.
        sizes: sizes to resize to.
        override: a person's box within the volume. It replaces the automatic box.
        draw: also draw the preview.
        find_zones: also find the lung zones.
    """
    located = locate(volume)
    if override is not None:
        located = _overridden(located, override)
    voxels, box = located.volume.voxels, located.crop.box
    inside = voxels[box.slices]
    sizes = list(sizes)
    return Preprocessed(
        voxels={size: resize(inside, size.shape) for size in sizes},
        record=make_record(located),
        preview=preview(voxels, located.segmentation, box, volume.spacing) if draw else None,
        zones={size: lung_zones(located.segmentation, box, size.shape) for size in sizes} if find_zones else {},
        geometry=located.volume.geometry,
    )


def preprocess_scan(
    path: Path,
    sizes: Iterable[Size],
    *,
    threads: int = 1,
    override: Override | None = None,
    draw: bool = False,
    find_zones: bool = False,
) -> Preprocessed:
    """Read a scan and preprocess it.

    Args:
        path: the scan's folder or file.
        sizes: sizes to resize to.
        threads: number of threads that decode slices; it does not change the result.
        override: a person's box for this scan.
        draw: also draw the preview.
        find_zones: also find the lung zones.

    Raises:
        ScanError: the scan can't be read, or the person's box does not fit it.
    """
    volume = read_volume(path, threads)
    if override is None:
        return preprocess(volume, sizes, draw=draw, find_zones=find_zones)
    override.check_fits(volume)
    return preprocess(volume, sizes, override=override.box, draw=draw, find_zones=find_zones)


def _overridden(located: Located, box: Box) -> Located:
    note = f"{OVERRIDDEN}, in place of {located.crop.box} ({located.crop.kind})"
    volume = replace(located.volume, notes=(*located.volume.notes, note))
    return replace(located, volume=volume, crop=replace(located.crop, box=box, kind="override"))


def make_record(located: Located) -> ScanRecord:
    """The record of a scan, without its name."""
    volume, segmentation, crop = located.volume, located.segmentation, located.crop
    notes = [*volume.notes, *([NO_LUNGS] if crop.kind == "fallback" else [])]
    depth, height, width = volume.voxels.shape
    spacing = volume.spacing or (None, None, None)
    measured = asdict(find_signs(segmentation, crop.box))
    signs: dict[str, Any] = {name: round(float(value), 4) for name, value in measured.items()}
    words = {True: "known", False: "assumed"}
    return ScanRecord(
        slices_found=volume.slices_found,
        slices_used=depth,
        depth=depth,
        height=height,
        width=width,
        **asdict(crop.box),
        crop=crop.kind,
        lung_share=round(crop.lung_share, 4),
        lung_ml=_millilitres(crop.lung_voxels, volume),
        spacing_z=spacing[0],
        spacing_y=spacing[1],
        spacing_x=spacing[2],
        left_share=round(segmentation.left_share, 4),
        opacity=round(segmentation.opacity, 4),
        **signs,
        format=volume.format,
        orientation=words[volume.orientation_known],
        window=words[volume.window_known],
        missing=volume.missing,
        doubled=volume.doubled,
        corrupt=volume.corrupt,
        series=volume.series,
        notes="; ".join(notes),
    )


def _millilitres(voxels: int, volume: Volume) -> int | None:
    """The volume of `voxels` voxels in millilitres; None if the spacing is unknown."""
    return None if volume.spacing is None else round(voxels * float(np.prod(volume.spacing)) / 1000.0)


def settings(size: Size) -> dict[str, Any]:
    """All settings that affect the voxels of a preprocessed volume, and their hash."""
    chosen = {
        "size": size.value,
        "shape": list(size.shape),
        "window_hu": list(WINDOW_HU),
        "algorithm": ALGORITHM,
        "grid": [grid.DEPTH, grid.WIDTH],
        "margins": [cropping.MARGIN, cropping.BASE_MARGIN],
        "least_lung_share": cropping.LEAST_LUNG_SHARE,
        "resize": "skimage order 3",
    }
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    return {**chosen, "hash": digest[:16]}
