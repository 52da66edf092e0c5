"""A synthetic scan in memory. It depends only on the seed, the partition and the scan's number."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cov3d.datasets.names import LesionSides
from cov3d.phantom.acquire import Acquisition, Scanner, draw_acquisition
from cov3d.phantom.anatomy import Person, draw_person
from cov3d.phantom.chest import Chest, build_chest
from cov3d.phantom.finishes import FINISHES
from cov3d.phantom.lesions import Findings, draw_findings
from cov3d.phantom.organs import draw_organs, with_full_stomach
from cov3d.phantom.plan import PARTITIONS, category_of, lungs_of
from cov3d.phantom.rig import lay_blankets
from cov3d.phantom.slices import cut
from cov3d.phantom.variants import VARIANTS, Drawn
from cov3d.volume import Volume


@dataclass(frozen=True)
class PhantomScan:
    """A synthetic scan and its ground truth.

    Attributes:
        voxels: `uint8` (depth, height, width), the voxels of a canonical volume.
        mask: `uint8`, same shape: 0 none, 1 left lung, 2 right lung, 3 lesion in the left lung, 4 in the right.
        spacing: mm along (depth, height, width).
        category: non-covid or a severity.
        involvement: share of lung voxels in lesions.
        lesion_side: the lungs with lesions in the mask: both, left or right; empty for none.
        person, findings, acquisition: random parameters.
    """

    voxels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    category: str
    involvement: float
    lesion_side: str
    person: Person
    findings: Findings
    acquisition: Acquisition

    @property
    def volume(self) -> Volume:
        """The scan as a canonical volume."""
        return Volume(self.voxels, Path("phantom"), slices_found=len(self.voxels), spacing=self.spacing)

    @property
    def lesion_mask(self) -> NDArray[np.bool_]:
        """The lesions, on the grid of the volume."""
        return self.mask > 2


def make_scan(
    seed: int,
    partition: str = "train",
    number: int = 0,
    *,
    resolution: int = 512,
    category: str | None = None,
    slices: int | None = None,
    variant: str | None = None,
    lesions: LesionSides = LesionSides.BOTH,
    hide_lesions: bool = False,
) -> PhantomScan:
    """Scan `number` (from 0) of a partition: `train`, `validation`, `task1` or `task2`.

    Args:
        seed: random seed.
        partition: of the scan.
        number: of the scan.
        resolution: rows and columns of a slice.
        category: non-covid or a severity; None for that of this number.
        slices: number of slices; None for a random one.
        variant: a difficult kind of scan from `variants.VARIANTS`.
        lesions: the lungs with lesions, if the scan has any.
        hide_lesions: draw healthy lung in place of the lesions. All else, the mask included, stays the same.
    """
    shown = category_of(partition, number) if category is None else category
    streams = np.random.SeedSequence([seed, PARTITIONS.index(partition), number]).spawn(7)
    for_person, for_organs, for_findings, for_acquisition, for_chest, for_noise, for_variant = map(
        np.random.default_rng, streams
    )
    person = draw_person(for_person)
    findings = draw_findings(shown, for_findings)
    acquisition = draw_acquisition(person, resolution, for_acquisition, slices)
    drawn = Drawn(person, findings, acquisition)
    if variant is not None:
        drawn = VARIANTS[variant](drawn, for_variant)
        person, findings, acquisition = drawn.person, drawn.findings, drawn.acquisition
    findings = replace(findings, lungs=lungs_of(lesions, seed, partition, number), hidden=hide_lesions)
    if findings.white and findings.lungs != "both":
        findings = replace(findings, white=findings.lungs)
    organs = draw_organs(person, for_organs)
    if drawn.full_stomach:
        organs = with_full_stomach(organs)
    frame = acquisition.frame
    chest = build_chest(person, organs, findings, frame, acquisition.softness, for_chest, drawn.arms)
    scanner = Scanner(acquisition, _rearmost(person, acquisition), for_noise)
    voxels, mask, involvement = _image(chest, scanner, acquisition, resolution)
    if variant in FINISHES:
        voxels, mask = FINISHES[variant](voxels, mask, for_variant)
    return PhantomScan(
        voxels=voxels,
        mask=mask,
        spacing=(frame.thickness, frame.fov / voxels.shape[1], frame.fov / voxels.shape[2]),
        category=shown,
        involvement=involvement,
        lesion_side=_lesion_side(mask),
        person=person,
        findings=findings,
        acquisition=acquisition,
    )


def _image(
    chest: Chest, scanner: Scanner, acquisition: Acquisition, resolution: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """The slices of a chest, their mask, and the share of lung voxels in lesions."""
    slices = len(acquisition.frame.z)
    voxels = np.empty((slices, resolution, resolution), np.uint8)
    mask = np.empty_like(voxels)
    for index in range(slices):
        hu, mask[index] = cut(chest, index)
        if acquisition.blankets is not None:
            lay_blankets(hu, chest, index, acquisition.blankets)
        voxels[index] = scanner.grey(hu)
    lung, lesion = int(np.count_nonzero(mask)), int(np.count_nonzero(mask > 2))
    return voxels, mask, lesion / lung if lung else 0.0


def _lesion_side(mask: NDArray[np.uint8]) -> str:
    left, right = bool((mask == 3).any()), bool((mask == 4).any())
    if left and right:
        return "both"
    return "left" if left else "right" if right else ""


def _rearmost(person: Person, acquisition: Acquisition) -> float:
    """Image y (mm) of the rearmost point of the back in the scan, where the table supports it."""
    frame = acquisition.frame
    backs = [
        person.outlines(float(z))[5] + 0.7 * person.fat + frame.shift[1] + frame.pitch * (float(z) - frame.pivot)
        for z in frame.z[:: max(1, len(frame.z) // 30)]
    ]
    return float(max(backs))
