"""The preprocessing of one scan: segment, crop, resize. `cov3d preprocess` and `cov3d infer` both use it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
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
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.signs import Signs, find_signs
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.zones import lung_zones
from cov3d.readers import read_volume
from cov3d.volume import WINDOW_HU, Geometry, Volume

ALGORITHM = 3
"""Increased whenever the code changes the voxels of the result."""

FEET_FIRST = "slices stored feet first: order reversed"
NO_LUNGS = "no lungs found: the whole body is kept"
OVERRIDDEN = "box given by a person"

SIGNS = tuple(field.name for field in fields(Signs))
"""Columns of the manifest from which doubtful crops are found."""

INTAKE_COLUMNS = ("format", "orientation", "window", "missing", "doubled", "corrupt", "series")
"""What the reader found out, apart from its notes. A record made by an earlier version has none of them."""

RECORD_COLUMNS = (
    *("scan", "slices_found", "slices_used", "depth", "height", "width"),
    *("z0", "z1", "y0", "y1", "x0", "x1", "crop", "lung_share", "lung_ml"),
    *("spacing_z", "spacing_y", "spacing_x", "left_share", "opacity"),
    *SIGNS,
    *INTAKE_COLUMNS,
    "notes",
)


@dataclass(frozen=True)
class Preprocessed:
    """A scan ready for a network.

    Attributes:
        voxels: `uint8` arrays of (depth, height, width), by size.
        record: the scan's row of the manifest, by column, without its name.
        preview: a small picture of the scan and its crop (WebP), if requested.
        zones: the lung zone of each voxel (see `zones.lung_zones`), by size, if requested.
        geometry: where the scan's voxels are in its file and in the patient; None if unknown.
    """

    voxels: dict[Size, NDArray[np.uint8]]
    record: dict[str, Any]
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


def make_record(located: Located) -> dict[str, Any]:
    """A scan's row of the manifest, by column, without its name."""
    volume, segmentation, crop = located.volume, located.segmentation, located.crop
    notes = [*volume.notes, *([NO_LUNGS] if crop.kind == "fallback" else [])]
    depth, height, width = volume.voxels.shape
    millilitres = None
    if volume.spacing is not None:
        millilitres = round(crop.lung_voxels * float(np.prod(volume.spacing)) / 1000.0)
    return {
        "slices_found": volume.slices_found,
        "slices_used": depth,
        "depth": depth,
        "height": height,
        "width": width,
        **asdict(crop.box),
        "crop": crop.kind,
        "lung_share": round(crop.lung_share, 4),
        "lung_ml": millilitres,
        **dict(zip(("spacing_z", "spacing_y", "spacing_x"), volume.spacing or (None, None, None), strict=True)),
        "left_share": round(segmentation.left_share, 4),
        "opacity": round(segmentation.opacity, 4),
        **{name: round(float(value), 4) for name, value in asdict(find_signs(segmentation, crop.box)).items()},
        **_intake_of(volume),
        "notes": "; ".join(notes),
    }


_WORDS = ("scan", "crop", "format", "orientation", "window", "series", "notes")


def record_with_numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose numbers may be text, as read from a table: as numbers, None where unknown."""

    def number(value: Any) -> float | int | None:
        if value is None or value == "" or value != value:
            return None
        return float(value) if not isinstance(value, int | float) else value

    return {
        name: value if name in _WORDS else number(value) for name, value in record.items() if name in RECORD_COLUMNS
    }


def _intake_of(volume: Volume) -> dict[str, Any]:
    words = {True: "known", False: "assumed"}
    return {
        "format": volume.format,
        "orientation": words[volume.orientation_known],
        "window": words[volume.window_known],
        "missing": volume.missing,
        "doubled": volume.doubled,
        "corrupt": volume.corrupt,
        "series": volume.series,
    }


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
