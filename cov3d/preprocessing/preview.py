"""A small picture of a scan in three planes, with its crop box and the outline of its lungs.

It is drawn during preprocessing and must be cheap: only three planes are read. The format is WebP, which keeps thin
coloured lines that JPEG smears: 7 KB instead of 14 KB for the same picture.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.lungs import Segmentation

CELL = 160
"""Side length, in pixels, of the square that each plane is fitted into."""

GAP = 4
"""Pixels between the planes."""

SIZE = (3 * CELL + 2 * GAP, CELL)
"""Width and height of a picture, in pixels; the same for every scan."""

MOST_BYTES = 12_000
"""A larger picture is encoded again at lower quality: a page holds thousands of them."""

BOX_COLOUR, LUNG_COLOUR = (230, 159, 0), (0, 190, 255)
"""Orange and sky blue, which differ from each other with any colour vision, and from every grey."""

LINE = 2
"""Line width in pixels. WebP stores colours at half the resolution, so a line of one pixel fades."""

MARKS = (
    *(("R", 8, CELL // 2), ("L", CELL - 8, CELL // 2), ("A", CELL // 2, 8), ("P", CELL // 2, CELL - 8)),
    *(("R", CELL + GAP + 8, CELL // 2), ("L", 2 * CELL + GAP - 8, CELL // 2)),
    *(("H", CELL + GAP + CELL // 2, 8), ("F", CELL + GAP + CELL // 2, CELL - 8)),
    *(("A", 2 * (CELL + GAP) + 8, CELL // 2), ("P", SIZE[0] - 8, CELL // 2)),
    *(("H", 2 * (CELL + GAP) + CELL // 2, 8), ("F", 2 * (CELL + GAP) + CELL // 2, CELL - 8)),
)
"""Letters for the patient's right and left, front (anterior) and back (posterior), head and feet, each with its centre
(x, y) in pixels. The orientation is the same in every picture."""

_QUALITIES = (60, 35, 10, 0)


@dataclass(frozen=True)
class Panel:
    """The position of one plane in the picture.

    Attributes:
        across: the axis of the volume that the plane is perpendicular to.
        rows: the axis that runs down.
        columns: the axis that runs to the right.
        left, top, width, height: the plane's rectangle in the picture, in pixels.
    """

    across: int
    rows: int
    columns: int
    left: int
    top: int
    width: int
    height: int


def panels(shape: tuple[int, int, int], spacing: tuple[float, float, float] | None = None) -> tuple[Panel, ...]:
    """The layout of `preview`: axial, coronal and sagittal plane of a volume of `shape` (and `spacing`, in mm).

    Without spacing (JPEG), the volume is drawn as deep as it is wide.
    """
    depth, height, width = shape
    size = (float(max(height, width)), float(height), float(width))
    if spacing is not None:
        size = (depth * spacing[0], height * spacing[1], width * spacing[2])
    laid = []
    for place, (across, rows, columns) in enumerate(((0, 1, 2), (1, 0, 2), (2, 0, 1))):
        scale = CELL / max(size[rows], size[columns])
        wide, high = (max(1, round(size[axis] * scale)) for axis in (columns, rows))
        left = place * (CELL + GAP) + (CELL - wide) // 2
        laid.append(Panel(across, rows, columns, left, (CELL - high) // 2, wide, high))
    return tuple(laid)


def preview(
    voxels: NDArray[np.uint8],
    segmentation: Segmentation,
    box: Box,
    spacing: tuple[float, float, float] | None = None,
) -> bytes:
    """The picture, as WebP: axial, coronal and sagittal planes, each through the most lung within the box.

    Args:
        voxels: the canonical volume, `uint8` (depth, height, width).
        segmentation: its masks; the lungs are outlined.
        box: its crop box, drawn as a frame.
        spacing: millimetres between voxels, if known.
    """
    depth, height, width = voxels.shape
    grey = Image.new("L", SIZE)
    outlines = Image.new("L", SIZE)
    laid = panels((depth, height, width), spacing)
    for panel in laid:
        place = _fullest(segmentation, box, panel.across)
        plane = Image.fromarray(_plane(voxels, panel, place))
        fitted = plane.resize((panel.width, panel.height), Image.Resampling.BILINEAR, reducing_gap=1.5)
        grey.paste(fitted, (panel.left, panel.top))
        outlines.paste(_outline(segmentation, panel, place, voxels.shape), (panel.left, panel.top))
    picture = grey.convert("RGB")
    picture.paste(LUNG_COLOUR, mask=outlines)
    for panel in laid:
        _frame(picture, panel, box, voxels.shape)
    return _encode(picture)


def _to_grid(segmentation: Segmentation, axis: int, voxel: float) -> float:
    """Convert a position on an axis of the volume to the reduced grid (both are measured from an edge)."""
    return (voxel - segmentation.grid.origin[axis]) / segmentation.grid.step[axis]


def _from_grid(segmentation: Segmentation, axis: int, cell: float) -> float:
    """Convert a position on an axis of the reduced grid to the volume."""
    return segmentation.grid.origin[axis] + cell * segmentation.grid.step[axis]


def _fullest(segmentation: Segmentation, box: Box, axis: int) -> int:
    """The voxel on `axis` whose plane cuts the most lung within the box; the box's middle if there is no lung."""
    limits = [
        (int(_to_grid(segmentation, other, first)), int(np.ceil(_to_grid(segmentation, other, last))))
        for other, (first, last) in enumerate(box.bounds)
    ]
    first, last = box.bounds[axis]
    # Every second cell along each axis is accurate enough, at an eighth of the work.
    lungs = segmentation.lungs[tuple(slice(max(low, 0), max(high, 0), 2) for low, high in limits)]
    areas = lungs.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.int32)
    if not areas.any():
        return (first + last) // 2
    cell = max(limits[axis][0], 0) + 2 * int(areas.argmax())
    return min(max(int(_from_grid(segmentation, axis, cell + 0.5)), first), last - 1)


def _plane(voxels: NDArray[np.uint8], panel: Panel, place: int) -> NDArray[np.uint8]:
    """The plane at `place`, at reduced resolution where that saves time.

    The bytes of a plane across slices are scattered over the volume. Neighbouring bytes cost no extra reads, so a few
    planes are averaged; and only as many rows are read as the picture can show.
    """
    if panel.across == 0:
        return voxels[place]
    index = [slice(None, None, max(1, size // CELL)) for size in voxels.shape[:2]] + [slice(None)]
    thick = max(1, voxels.shape[panel.across] // CELL)
    first = max(0, min(place - thick // 2, voxels.shape[panel.across] - thick))
    index[panel.across] = slice(first, first + thick)
    slab = voxels[tuple(index)]
    return (slab.sum(axis=panel.across, dtype=np.uint16) // thick).astype(np.uint8)


def _outline(segmentation: Segmentation, panel: Panel, place: int, shape: tuple[int, ...]) -> Image.Image:
    """The outline of the lungs in a plane, one pixel on each side of the edge, at the panel's size; 255 or 0."""
    cells = segmentation.lungs.shape[panel.across]
    cell = min(max(int(_to_grid(segmentation, panel.across, place)), 0), cells - 1)
    mask = np.moveaxis(segmentation.lungs, panel.across, 0)[cell]
    ends = [
        (_to_grid(segmentation, axis, 0), _to_grid(segmentation, axis, shape[axis]))
        for axis in (panel.rows, panel.columns)
    ]
    # The grid may cover less than the volume; there is no lung outside it.
    padding = [
        (max(0, int(np.ceil(-start))), max(0, int(np.ceil(stop)) - size))
        for (start, stop), size in zip(ends, mask.shape, strict=True)
    ]
    (top, bottom), (left, right) = (
        (start + before, stop + before) for (start, stop), (before, _) in zip(ends, padding, strict=True)
    )
    fitted = Image.fromarray(np.pad(mask.view(np.uint8), padding) * 255).resize(
        (panel.width, panel.height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    lungs = np.asarray(fitted) > 127
    inner, outer = lungs.copy(), lungs.copy()
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
        for one, other in ((here, there), ((slice(None), here), (slice(None), there))):
            inner[one] &= lungs[other]
            outer[one] |= lungs[other]
    return Image.fromarray((outer & ~inner).view(np.uint8) * 255)


def _frame(picture: Image.Image, panel: Panel, box: Box, shape: tuple[int, ...]) -> None:
    """Draw the box's frame. Its line is inside the box, so that it is visible if the box fills the plane."""
    corners = []
    for axis, start, pixels in ((panel.columns, panel.left, panel.width), (panel.rows, panel.top, panel.height)):
        first, last = box.bounds[axis]
        low, high = first * pixels // shape[axis], -(-last * pixels // shape[axis]) - 1
        corners.append((start + low, start + max(low, high)))
    (left, right), (top, bottom) = corners
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=BOX_COLOUR, width=LINE)


def _encode(picture: Image.Image) -> bytes:
    encoded = b""
    for quality in _QUALITIES:
        stream = io.BytesIO()
        picture.save(stream, format="WEBP", quality=quality, method=2)
        encoded = stream.getvalue()
        if len(encoded) <= MOST_BYTES:
            break
    return encoded
