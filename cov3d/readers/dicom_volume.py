"""A stack of DICOM slices → Volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.errors import ScanError
from cov3d.readers.dicom_grid import is_sheared, out_of_line, resampled, sheared_back, spacing_of
from cov3d.readers.dicom_pixels import Bytes, frames_of, is_read
from cov3d.readers.dicom_planes import decoded, readable_values
from cov3d.readers.dicom_signs import with_true_signs
from cov3d.readers.dicom_slice import Slice
from cov3d.readers.dicom_stack import SAME_PLACE, Stack
from cov3d.readers.image import orientation, plausible_spacing
from cov3d.readers.words import counted
from cov3d.volume import Geometry, Volume

_NOTED_DEGREES = 3.0
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_FROM_THE_HEAD, _FROM_THE_FEET = np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 1.0])


@dataclass
class _Ordered:
    """Slices in order, without copies.

    Attributes:
        slices: the slices.
        places: mm along `normal`, ascending; empty if unknown.
        normal: the direction of their order.
        known: whether the direction is known.
        doubled: number of copies that were dropped.
        notes: how the order was found, if it is unusual.
    """

    slices: list[Slice]
    places: NDArray[np.float64]
    normal: NDArray[np.float64]
    known: bool = True
    doubled: int = 0
    notes: list[str] = field(default_factory=list)


def volume_of(path: Path, stack: Stack, series: str, threads: int) -> Volume:
    """Decode a stack and put it into canonical order.

    Args:
        path: the path of the scan, for errors.
        stack: its slices.
        series: description of the series, for `Volume.series`.
        threads: threads that decode; the volume does not depend on them.

    Raises:
        ScanError: the order of the slices is ambiguous, more than half are missing or unreadable, or the values are
            not Hounsfield units.
    """
    _check_syntax(path, stack)
    frames = {file: _frames(one) for one in stack.slices if (file := one.file) and one.pixels and one.pixels.frames > 1}
    ordered = _ordered(path, stack, frames)
    slices, signs = with_true_signs(ordered.slices, frames)
    voxels, readable, corrected = decoded(path, slices, frames, threads)
    corrupt = len(ordered.slices) - len(readable)
    notes = [*ordered.notes, *signs, *corrected, *_notes_on_lost(ordered.doubled, stack.overlapping, corrupt)]
    step, missing = stack.slices[0].between or stack.slices[0].thickness, 0
    used = [ordered.slices[index] for index in readable]
    directions = np.array(used[0].directions or _AXIAL)
    if len(ordered.places) > 1:
        voxels = _in_line(voxels, used, directions, notes)
        voxels, step, missing = _evenly_spaced(path, voxels, ordered.places, readable, notes)
    pixel = used[0].spacing or (1.0, 1.0)
    steps = np.stack([ordered.normal * (step or 1.0), directions[3:] * pixel[0], directions[:3] * pixel[1]])
    axes, flips, degrees = orientation(steps)
    if degrees > _NOTED_DEGREES:
        notes.append(f"axes {degrees:.0f} degrees off the patient's: the nearest taken")
    if not used[0].directions:
        notes.append("the header holds no orientation: taken as axial, anterior up, the patient's right first")
    spacing, doubt = plausible_spacing([(step or 1.0, *pixel)[axis] for axis in axes])
    return Volume(
        voxels=np.ascontiguousarray(voxels.transpose(axes)[flips]),
        path=path,
        slices_found=len(stack.slices) + stack.overlapping,
        spacing=spacing if used[0].spacing and step else None,
        notes=(*notes, *doubt),
        format="DICOM",
        orientation_known=ordered.known and bool(used[0].directions),
        missing=missing,
        doubled=ordered.doubled,
        corrupt=corrupt,
        series=series,
        geometry=_geometry(used, ordered.places, steps, axes, flips),
    )


def _geometry(
    used: Sequence[Slice],
    places: NDArray[np.float64],
    steps: NDArray[np.float64],
    axes: tuple[int, ...],
    flips: tuple[slice, ...],
) -> Geometry | None:
    """Where the voxels are in the patient; None where the slices have no positions or pixels no size.

    Slices that were moved into line lie on a larger plane, in which the middle one shows where that plane is.
    """
    if not (len(places) > 1 and all(one.position and one.spacing and one.directions for one in used)):
        return None
    middle = used[len(used) // 2]
    normal = steps[0] / np.linalg.norm(steps[0])
    first, place = np.array(used[0].position), np.array(middle.position)
    origin = place - normal * ((place - first) @ normal)
    directions = np.array(middle.directions)
    millimetres = out_of_line(np.array([one.position for one in used]), directions[:3], directions[3:])
    pixels = millimetres / np.array(middle.spacing)
    if is_sheared(pixels):
        down, right = np.ceil(np.maximum(-pixels.min(axis=0), 0))
        origin = origin - down * steps[1] - right * steps[2]
    return Geometry(origin, steps, axes, tuple(flip.step < 0 for flip in flips))


def _notes_on_lost(doubled: int, overlapping: int, corrupt: int) -> list[str]:
    """Notes on slices that are not in the volume: copies, the overlap of acquisitions, and unreadable slices."""
    notes = []
    if doubled:
        notes.append(f"{counted(doubled, 'copied slice')} dropped")
    if overlapping:
        dropped = counted(overlapping, "slice")
        notes.append(f"acquisitions that follow each other joined, {dropped} of their overlap dropped")
    if corrupt:
        notes.append(f"{counted(corrupt, 'unreadable slice')} left out")
    return notes


def _check_syntax(path: Path, stack: Stack) -> None:
    for one in stack.slices:
        if one.pixels is not None and not is_read(one.pixels.syntax):
            standard = one.pixels.syntax if one.pixels.syntax.startswith("1.2.840.10008.") else "a private one"
            raise ScanError(
                f"the slices of {path} are in a transfer syntax that is not read ({standard}): export the series "
                "uncompressed, or as JPEG Lossless, JPEG-LS or JPEG 2000"
            )


def _frames(one: Slice) -> Sequence[Bytes]:
    try:
        return frames_of(one)
    except (ValueError, OSError):
        return [b""] * (one.pixels.frames if one.pixels else 0)


def _ordered(path: Path, stack: Stack, frames: Mapping[Path, Sequence[Bytes]]) -> _Ordered:
    if len(stack.places):
        return _by_position(path, stack, frames)
    for what, direction, known in (
        ("slice location", _FROM_THE_FEET, True),
        ("instance number", _FROM_THE_HEAD, False),
    ):
        values = [one.location if known else one.number for one in stack.slices]
        numbers = [value for value in values if value is not None and np.isfinite(value)]
        if len(numbers) == len(set(numbers)) == len(stack.slices):
            order = np.argsort(numbers)
            slices = [stack.slices[index] for index in order]
            note = f"the header holds no usable positions: ordered by {what}, which end is the head is assumed"
            places = np.array(numbers, dtype=np.float64)[order] if known else np.empty(0)
            return _Ordered(slices, places, direction, known=False, notes=[note])
    raise ScanError(
        f"the order of the slices of {path} is not known: they have no positions, and no slice locations or instance "
        "numbers that are all different; export the series again"
    )


def _by_position(path: Path, stack: Stack, frames: Mapping[Path, Sequence[Bytes]]) -> _Ordered:
    """Slices by place, without copies. A copy replaces a slice that can't be read."""
    near = SAME_PLACE * max(stack.step, 0.01)
    kept: list[Slice] = []
    places: list[float] = []
    doubled = 0
    for one, place in zip(stack.slices, stack.places, strict=True):
        if not places or place - places[-1] >= near:
            kept.append(one)
            places.append(float(place))
            continue
        doubled += 1
        first, second = (_values(which, frames) for which in (kept[-1], one))
        if first is None:
            kept[-1] = one
        elif second is not None and not np.array_equal(first, second):
            raise ScanError(
                f"{path} holds two different slices at one position ({kept[-1].file.name}, {one.file.name}), and "
                "nothing in their headers shows which series they belong to: put each series into a folder of its own"
            )
    return _Ordered(kept, np.array(places), stack.normal, doubled=doubled)


def _values(one: Slice, frames: Mapping[Path, Sequence[Bytes]]) -> NDArray[np.float64] | None:
    stored = readable_values(one, frames)
    return None if stored is None else stored * one.slope + one.intercept


def _in_line(
    voxels: NDArray[np.uint8], slices: Sequence[Slice], directions: NDArray[np.float64], notes: list[str]
) -> NDArray[np.uint8]:
    if not all(one.position and one.spacing for one in slices):
        return voxels
    positions = np.array([one.position for one in slices])
    millimetres = out_of_line(positions, directions[:3], directions[3:])
    pixels = millimetres / np.array(slices[0].spacing)
    if not is_sheared(pixels):
        return voxels
    notes.append(f"slices up to {np.ptp(millimetres, axis=0).max():.0f} mm out of line (gantry tilt): sheared back")
    return sheared_back(voxels, pixels)


def _evenly_spaced(
    path: Path, voxels: NDArray[np.uint8], places: NDArray[np.float64], readable: Sequence[int], notes: list[str]
) -> tuple[NDArray[np.uint8], float, int]:
    """The slices, resampled if their spacing is uneven; mm between them; and the number of missing slices."""
    spaced = spacing_of(places)
    if spaced.missing > len(places):
        raise ScanError(
            f"the slices of {path} lie far apart: {spaced.missing} are missing among {len(places)}; copy the complete "
            "series"
        )
    if spaced.missing:
        where = ", ".join(f"between {before:g} and {after:g} mm" for before, after in spaced.where)
        notes.append(f"{counted(spaced.missing, 'slice')} missing ({where})")
    if spaced.targets:
        apart = np.diff(places)
        notes.append(
            f"slices unevenly spaced ({apart.min():.3g} to {apart.max():.3g} mm): resampled every {spaced.step:.3g} mm"
        )
        voxels = resampled(voxels, places[list(readable)].tolist(), spaced.targets)
    return voxels, spaced.step, spaced.missing
