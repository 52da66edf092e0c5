"""Pictures of an explained prediction: three planes of the crop with the lungs, and the evidence map to lay over them.

The planes go through the place with the most evidence for COVID-19 in the lungs; without a map, through the middle.
The map is a picture of its own, of the same size and transparent where there is little evidence, so that a page can
fade it in and out.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cov3d.inference.explanation import Explanation
from cov3d.preprocessing.preview import CELL, GAP, LUNG_COLOUR, SIZE

_FOR, _AGAINST = (255, 96, 0), (0, 130, 255)
"""Colours of evidence for and against."""

_SHOWN = 0.15
"""Evidence below this share of the strongest is transparent; it would only colour the whole picture."""


def place_of(explanation: Explanation) -> tuple[int, int, int]:
    """The voxel of the crop that the planes go through."""
    depth, height, width = explanation.voxels.shape
    density = explanation.presence_map
    lungs = explanation.lung_zones > 0
    if density is None or not lungs.any():
        return depth // 2, height // 2, width // 2
    z, y, x = np.unravel_index(int(np.where(lungs, density, -np.inf).argmax()), density.shape)
    return int(z), int(y), int(x)


def crop_size(record: Mapping[str, Any]) -> tuple[float, float, float]:
    """Size of a crop along (depth, height, width): mm or, without spacing, pixels, and as deep as wide."""
    voxels = tuple(int(record[f"{axis}1"]) - int(record[f"{axis}0"]) for axis in "zyx")
    spacing = tuple(record[f"spacing_{axis}"] for axis in "zyx")
    if any(mm is None or mm != mm or mm == "" for mm in spacing):
        return float(voxels[2]), float(voxels[1]), float(voxels[2])
    deep, high, wide = (count * float(mm) for count, mm in zip(voxels, spacing, strict=True))
    return deep, high, wide


def crop_picture(explanation: Explanation, millimetres: tuple[float, float, float]) -> bytes:
    """Axial, coronal and sagittal plane of the crop with the outline of the lungs, as WebP.

    Args:
        explanation: of a prediction.
        millimetres: size of the crop along (depth, height, width).
    """
    place = place_of(explanation)
    picture = Image.new("RGB", SIZE)
    for axis in range(3):
        plane = Image.fromarray(np.take(explanation.voxels, place[axis], axis))
        mask = np.take(explanation.lung_zones > 0, place[axis], axis)
        box, size = _layout(axis, millimetres)
        picture.paste(plane.resize(size, Image.Resampling.BILINEAR), box)
        picture.paste(LUNG_COLOUR, box, _outline(mask, size))
    return _encoded(picture, quality=75)


def map_picture(
    explanation: Explanation, density: NDArray[np.float32], millimetres: tuple[float, float, float]
) -> bytes:
    """The map in the planes of `crop_picture`, transparent where there is little evidence, as WebP.

    The mean of the map is subtracted: what is the same everywhere says nothing about a place. A map that varies little
    compared with its mean stays almost transparent.
    """
    place = place_of(explanation)
    mean = float(density.mean())
    density = density - np.float32(mean)
    strongest = max(float(np.abs(density).max()), abs(mean)) or 1.0
    picture = Image.new("RGBA", SIZE)
    for axis in range(3):
        share = np.take(density, place[axis], axis) / strongest
        colours = np.zeros((*share.shape, 4), dtype=np.uint8)
        colours[..., :3] = np.where((share > 0)[..., None], _FOR, _AGAINST)
        visible = np.clip((np.abs(share) - _SHOWN) / (1 - _SHOWN), 0, 1)
        colours[..., 3] = np.rint(255 * np.sqrt(visible))
        box, size = _layout(axis, millimetres)
        picture.paste(Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR), box)
    return _encoded(picture, quality=60)


def _layout(axis: int, millimetres: tuple[float, float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Left upper corner and size in pixels of the plane across an axis."""
    size = millimetres
    rows, columns = (other for other in range(3) if other != axis)
    scale = CELL / max(size[rows], size[columns])
    wide, high = (max(1, round(size[one] * scale)) for one in (columns, rows))
    return (axis * (CELL + GAP) + (CELL - wide) // 2, (CELL - high) // 2), (wide, high)


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """The inner edge of a mask at the size of the picture, 255 or 0."""
    fitted = Image.fromarray(mask.view(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    inside = np.pad(np.asarray(fitted) > 127, 1)
    middle = inside[1:-1, 1:-1]
    core = middle & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return Image.fromarray((middle & ~core).view(np.uint8) * 255)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=2)
    return stream.getvalue()
