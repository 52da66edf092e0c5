"""The acquisition of a synthetic scan: slices, field of view, table, noise, blur, and the window to grey levels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cov3d.phantom.anatomy import Person
from cov3d.phantom.geometry import Array, Frame
from cov3d.phantom.rig import Blankets, Table, draw_table, table_densities
from cov3d.volume import WINDOW_HU

BANK = 6
"""Number of noise images per scan. Each slice adds two of them, rolled at random, which is cheaper than new noise."""


@dataclass(frozen=True)
class Acquisition:
    """Settings of one scan.

    Attributes:
        noise: standard deviation, HU; grain: correlation length, in pixels of a 512-pixel slice.
        softness: width of an edge, mm.
        gas: brightness of gas above -1000 HU, HU.
        padding: whether the corners outside the circular field are black.
        table, blankets: None for none.
        motion: share of slices with motion artefacts; streak: standard deviation (HU) of the streaks in them.
    """

    frame: Frame
    noise: float
    grain: float
    softness: float
    gas: float
    padding: bool
    table: Table | None
    motion: float
    streak: float
    blankets: Blankets | None = None


def draw_slice_count(rng: np.random.Generator) -> int:
    """A random number of slices, with peaks near 60 and 345, from about 30 to over 700, few above 450."""
    kind = rng.random()
    if kind < 0.50:
        return int(np.clip(round(rng.normal(60, 8)), 34, 90))
    if kind < 0.92:
        return int(np.clip(round(rng.normal(345, 32)), 250, 440))
    if kind < 0.95:
        return int(rng.integers(28, 45))
    if kind < 0.985:
        return int(rng.integers(95, 260))
    return int(rng.integers(450, 760))


def draw_acquisition(
    person: Person, resolution: int, rng: np.random.Generator, slices: int | None = None
) -> Acquisition:
    """Random settings; `slices` overrides the number of slices."""
    drawn = draw_slice_count(rng)
    count = drawn if slices is None else slices
    above, below = float(rng.uniform(8, 60)), float(rng.uniform(8, 110))
    thickness = (person.height + above + below) / count
    z = (-above + (np.arange(count) + 0.5) * thickness).astype(np.float32)
    body = 2 * (1.2 * person.width + person.fat)
    kind = rng.random()
    if kind < 0.30:
        fov = float(rng.uniform(2 * person.width + 25, body))
    elif kind < 0.88:
        fov = float(rng.uniform(1.02, 1.25)) * body
    else:
        fov = min(float(rng.uniform(1.3, 1.6)) * body, 500.0)
    play = 0.02 * fov
    frame = Frame(
        resolution=resolution,
        fov=fov,
        z=z,
        thickness=thickness,
        roll=float(np.deg2rad(rng.normal(0, 2.2))),
        lean=float(rng.normal(0, 0.02)),
        pitch=float(rng.normal(0, 0.02)),
        shift=(float(rng.normal(0, play)), float(rng.normal(-0.02 * fov, play))),
        pivot=0.5 * person.height,
    )
    thin = thickness < 2.5
    return Acquisition(
        frame=frame,
        noise=float(rng.uniform(12, 50)) if thin else float(rng.uniform(7, 26)),
        grain=float(rng.uniform(0.5, 1.3)),
        softness=float(rng.uniform(0.8, 2.0)),
        gas=float(np.clip(rng.normal(25, 25), 0, 100)),
        padding=bool(rng.random() < 0.35),
        table=draw_table(rng),
        motion=float(rng.uniform(0.1, 0.4)) if rng.random() < 0.25 else 0.0,
        streak=float(rng.uniform(3, 14)),
    )


class Scanner:
    """Converts slices from HU to grey levels, with the table, padding and noise that all slices of a scan share."""

    def __init__(self, settings: Acquisition, back: float, rng: np.random.Generator) -> None:
        """`back` is the rearmost point of the body, in image mm."""
        self.settings, self.rng = settings, rng
        frame = settings.frame
        x, y = frame.centres[None, :], frame.centres[:, None]
        edge = max(settings.softness, frame.pixel)
        self.table = table_densities(settings.table, back, edge, x, y) if settings.table else None
        self.rows = slice(0, 0)
        if self.table is not None:
            filled = np.flatnonzero((self.table > -999).any(axis=1))
            self.rows = slice(int(filled.min(initial=0)), int(filled.max(initial=0)) + 1)
        self.outside = x * x + y * y > (frame.fov / 2) ** 2
        shape = (BANK, frame.resolution, frame.resolution)
        white = rng.standard_normal(shape, dtype=np.float32)
        grain = settings.grain * frame.resolution / 512
        bank = gaussian_filter(white, (0, grain, grain), mode="wrap", truncate=2.5) if grain > 0.25 else white
        self.bank = (bank * np.float32(settings.noise / np.sqrt(2) / max(float(bank.std()), 1e-6))).astype(np.float32)

    def grey(self, hu: Array) -> NDArray[np.uint8]:
        """One slice as `uint8` grey levels. Call it for the slices in order, as each call draws noise."""
        settings, rng = self.settings, self.rng
        if rng.random() < settings.motion:
            hu = _moved(hu, settings, rng)
        if self.table is not None:
            np.maximum(hu[self.rows], self.table[self.rows], out=hu[self.rows])
        first, second = rng.choice(BANK, 2, replace=False)
        rows, columns = rng.integers(0, hu.shape[0], 2)
        hu = hu + self.bank[first]
        hu += np.roll(self.bank[second], (int(rows), int(columns)), axis=(0, 1))
        low, high = WINDOW_HU
        # Gas is brighter than -1000 HU: values below water are compressed towards water.
        hu = np.maximum(hu, hu * np.float32(1 - settings.gas / 1000))
        hu -= np.float32(low)
        hu *= np.float32(255 / (high - low))
        hu += np.float32(0.5)
        grey = np.clip(hu, 0, 255).astype(np.uint8)
        if settings.padding:
            grey[self.outside] = 0
        return grey


def _moved(hu: Array, settings: Acquisition, rng: np.random.Generator) -> Array:
    """A slice taken while the body moved: two positions at once, and streaks across them."""
    pixel = settings.frame.pixel
    rows, columns = (np.rint(rng.normal(0, 1.3, 2) / pixel)).astype(int).tolist()
    double = 0.5 * (hu + np.roll(hu, (rows, columns), axis=(0, 1)))
    angle = rng.uniform(-0.6, 0.6)
    centres = settings.frame.centres
    across = centres[:, None] * np.float32(np.cos(angle)) + centres[None, :] * np.float32(np.sin(angle))
    wave = np.sin(across * np.float32(2 * np.pi / rng.uniform(9, 22)) + np.float32(rng.uniform(0, 6)))
    # Streaks start at one place, such as the heart's border, and fade with the distance from it.
    centre = rng.normal(0, 0.12 * settings.frame.fov, 2)
    away = (centres[None, :] - np.float32(centre[0])) ** 2 + (centres[:, None] - np.float32(centre[1])) ** 2
    wave *= np.exp(-away / np.float32(2 * (0.18 * settings.frame.fov) ** 2))
    body = np.clip((double + 950) * np.float32(1 / 300), 0, 1)
    return np.asarray(double + wave * body * np.float32(settings.streak), np.float32)
