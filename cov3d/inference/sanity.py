"""A test of explanations: do they find the lung with the lesions, and only for a network that has learned something?

Phantoms with lesions in one lung are predicted and explained by a network, and by an untrained one of the same
architecture. The side of a lesion is known. An explanation names a lung by the larger effect when the lung is replaced
(occlusion), or by the larger positive part of the map less its mean, as pictures show it (map). An explanation that is
empty, or nearly so, names no lung.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from cov3d.datasets.names import LesionSides
from cov3d.inference.explanation import Explanation
from cov3d.inference.networks import Extras, Member, Networks
from cov3d.inference.predict import predict_each
from cov3d.labels import SEVERITIES
from cov3d.models.registry import build
from cov3d.phantom import make_scan
from cov3d.preprocessing.zones import LEFT, RIGHT
from cov3d.volume import Volume

WANTED_OCCLUSION, WANTED_MAP = 0.9, 0.8
"""Share of the phantoms whose lung must be named for the test to be passed."""

_RESOLUTION = 128
_SMALLEST_EFFECT, _SMALLEST_MASS = 0.05, 0.01
"""Log-odds: an effect, or a part of a map, that is smaller names no lung. Of random weights all are smaller."""


@dataclass(frozen=True)
class Finding:
    """What the explanation of a phantom names.

    Attributes:
        side: the lung with the lesions, `left` or `right`.
        covid_probability: of the network.
        occlusion: the lung that occlusion names; empty for none.
        map: the lung that the map names; empty for none; None for a network without a class map.
        inside_lungs: share of the positive part of the map that lies in the lungs; None if nothing is positive.
    """

    side: str
    covid_probability: float
    occlusion: str
    map: str | None
    inside_lungs: float | None


@dataclass(frozen=True)
class Sanity:
    """The findings of a network on all phantoms."""

    findings: tuple[Finding, ...]

    @property
    def detected(self) -> float:
        """Share of the phantoms that are predicted positive."""
        return fmean(one.covid_probability > 0.5 for one in self.findings)

    @property
    def occlusion(self) -> float:
        """Share of the phantoms whose lung is named by occlusion."""
        return fmean(one.occlusion == one.side for one in self.findings)

    @property
    def map(self) -> float | None:
        """Share of the phantoms whose lung is named by the map; None for a network without a class map."""
        if any(one.map is None for one in self.findings):
            return None
        return fmean(one.map == one.side for one in self.findings)

    @property
    def inside_lungs(self) -> float | None:
        """Mean share of the map's positive part in the lungs; None if no map has one."""
        shares = [one.inside_lungs for one in self.findings if one.inside_lungs is not None]
        return fmean(shares) if shares else None

    @property
    def passes(self) -> tuple[bool, ...]:
        """Whether occlusion names the lung often enough and, for a network with a class map, whether the map does."""
        by_occlusion = self.occlusion >= WANTED_OCCLUSION
        return (by_occlusion,) if self.map is None else (by_occlusion, self.map >= WANTED_MAP)


def check(
    member: Member,
    *,
    scans: int,
    seed: int,
    device: torch.device,
    on_scan: Callable[[], None] = lambda: None,
) -> Sanity:
    """Explain phantoms with lesions in one lung, half of them in the left lung.

    Args:
        member: the network, on the device.
        scans: number of phantoms.
        seed: of the phantoms.
        device: to predict on.
        on_scan: called after each phantom.
    """
    findings = []
    for name, side, volume in _phantoms(scans, seed):
        (found,) = predict_each({name: volume}, Networks([member], device), batch_size=1, extras=Extras(explain=True))
        assert found.probabilities is not None
        assert found.explanation is not None
        findings.append(finding(side, float(1.0 - found.probabilities[0, 0]), found.explanation))
        on_scan()
    return Sanity(tuple(findings))


def untrained(member: Member, device: torch.device) -> Member:
    """A network of the same architecture with the random weights that its seed gives."""
    with torch.random.fork_rng():
        torch.manual_seed(member.info.seed)
        model = build(member.info.architecture, outputs=len(member.info.categories), **member.info.model)
    return Member(model.eval().to(device), member.info)


def finding(side: str, covid_probability: float, explanation: Explanation) -> Finding:
    """What an explanation names."""
    effects = {which: explanation.zones[f"{which} lung"] for which in ("right", "left")}
    named_by_map = None
    if explanation.presence_map is not None:
        shown = explanation.presence_map - explanation.presence_map.mean()
        zones = explanation.lung_zones
        mass = {"right": _positive(shown, zones, RIGHT), "left": _positive(shown, zones, LEFT)}
        named_by_map = _larger(mass, _SMALLEST_MASS)
    named = _larger(effects, _SMALLEST_EFFECT)
    return Finding(side, covid_probability, named, named_by_map, explanation.inside_lungs)


def _positive(density: NDArray[np.float32], zones: NDArray[np.uint8], lung: Sequence[int]) -> float:
    """Mean of a map's positive part over the crop, counted in a lung only."""
    return float(np.maximum(density, 0)[np.isin(zones, lung)].sum(dtype=np.float64)) / density.size


def _larger(values: dict[str, float], smallest: float) -> str:
    """The side with the larger value; empty if it is smaller than `smallest`."""
    side = max(values, key=lambda which: values[which])
    return side if values[side] >= smallest else ""


def _phantoms(scans: int, seed: int) -> Iterator[tuple[str, str, Volume]]:
    for number in range(scans):
        side = LesionSides.LEFT if number % 2 else LesionSides.RIGHT
        category = SEVERITIES[number // 2 % len(SEVERITIES)]
        made = make_scan(seed, "validation", number, resolution=_RESOLUTION, category=category, lesions=side)
        yield f"phantom_{number}", side.value, made.volume
