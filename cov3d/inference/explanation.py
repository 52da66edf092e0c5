"""What spoke for a prediction: evidence maps of presence and severity, and the effect of each lung zone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cov3d.inference.evidence import Contrast, View, captured, checked_map, map_source, mean_density
from cov3d.inference.occlusion import occluded, zone_effects
from cov3d.preprocessing.sizes import Size

if TYPE_CHECKING:
    from cov3d.inference.predict import Member


@dataclass(frozen=True)
class Explanation:
    """What spoke for the prediction of a scan.

    Attributes:
        voxels: the crop, `uint8` (depth, height, width), at the input size of the first network.
        lung_zones: the lung zone of each of these voxels, see `preprocessing.zones`.
        zones: what each lung zone, and each lung, adds to the log-odds of COVID-19, by name.
        presence_map: float32, same shape: what speaks for COVID-19 (positive) or against it, as a density: its mean
            is what the cells add to the logits' difference. None if a network has no class map.
        severity_map: the same for the predicted severity against the other severities.
        severity: the predicted severity.
        inside_lungs: share of the positive part of `presence_map` that lies in the lungs; None without a map or if
            nothing in it is positive.
    """

    voxels: NDArray[np.uint8]
    lung_zones: NDArray[np.uint8]
    zones: dict[str, float]
    severity: str
    presence_map: NDArray[np.float32] | None = None
    severity_map: NDArray[np.float32] | None = None
    inside_lungs: float | None = None

    @property
    def maps(self) -> dict[str, NDArray[np.float32]]:
        """The maps that there are, by task."""
        both = {"presence": self.presence_map, "severity": self.severity_map}
        return {task: density for task, density in both.items() if density is not None}


@dataclass
class ScanViews:
    """The forward passes of one scan by all networks."""

    views: list[View] = field(default_factory=list)
    is_complete: bool = True


@contextmanager
def watching(members: Sequence["Member"]) -> Iterator[Callable[[int], list[ScanViews]]]:
    """Watch the forward passes of networks in the block: each network predicts the batch, then its reflection.

    Yields:
        A function: number of scans in the batch → the passes of each scan since the last call.

    Raises:
        MapError: a class map does not add up to the logits (when the function is called).
    """
    with ExitStack() as stack:
        sources = [map_source(member.info.architecture) for member in members]
        passes = [
            None if source is None else stack.enter_context(captured(member.model, source))
            for member, source in zip(members, sources, strict=True)
        ]

        @torch.inference_mode()
        def collect(n_scans: int) -> list[ScanViews]:
            found = [ScanViews() for _ in range(n_scans)]
            for member, source, done in zip(members, sources, passes, strict=True):
                for scan, of_scan in enumerate(found):
                    if source is None or done is None:
                        of_scan.is_complete = False
                        continue
                    for number, (features, logits) in enumerate(done):
                        alone = slice(scan, scan + 1)
                        made = checked_map(
                            member.model, source, features[alone], logits[alone], member.info.architecture
                        )
                        shape = member.info.size.shape
                        of_scan.views.append(View(logits[scan].float(), made, source, shape, reflected=number % 2 == 1))
                if done is not None:
                    done.clear()
            return found

        yield collect


@torch.inference_mode()
def explain(
    seen: ScanViews,
    members: Sequence["Member"],
    voxels: Mapping[Size, Tensor],
    zones: Mapping[Size, NDArray[np.uint8]],
    probabilities: NDArray[np.float32],
    predict: Callable[[Mapping[Size, Tensor]], NDArray[np.float32]],
) -> Explanation:
    """Explain the prediction of a scan.

    Args:
        seen: its forward passes.
        members: the networks.
        voxels: the crop by size, `uint8` (1, depth, height, width).
        zones: lung zones by size.
        probabilities: of each network, (members, categories).
        predict: predicts a crop by size: the probabilities of each network.
    """
    size = members[0].info.size
    categories = members[0].info.categories
    severity = _severity(probabilities)

    def presence_without(part: Sequence[int]) -> float:
        changed = {
            one: torch.from_numpy(occluded(array[0].numpy(), zones[one], part))[None] for one, array in voxels.items()
        }
        return float(1.0 - predict(changed)[:, 0].mean())

    maps: list[NDArray[np.float32] | None] = [None, None]
    if seen.is_complete and seen.views:
        logits = [view.logits for view in seen.views]
        presence = mean_density(seen.views, [Contrast.presence(one) for one in logits], size.shape)
        maps = [presence, mean_density(seen.views, [Contrast.severity(one, severity) for one in logits], size.shape)]
    return Explanation(
        voxels=voxels[size][0].numpy(),
        lung_zones=zones[size],
        zones=zone_effects(float(1.0 - probabilities[:, 0].mean()), presence_without, zones[size]),
        severity=categories[severity],
        presence_map=maps[0],
        severity_map=maps[1],
        inside_lungs=None if maps[0] is None else share_inside(maps[0], zones[size] > 0),
    )


def share_inside(density: NDArray[np.float32], mask: NDArray[np.bool_]) -> float | None:
    """Share of the positive part of a map that lies within a mask; None if nothing is positive."""
    positive = np.maximum(density, 0)
    total = float(positive.sum(dtype=np.float64))
    return float(positive[mask].sum(dtype=np.float64)) / total if total > 0 else None


def _severity(probabilities: NDArray[np.float32]) -> int:
    """Index of the predicted severity's category: by the mean of the networks' probabilities given positive."""
    conditional = probabilities[:, 1:] / np.maximum(probabilities[:, 1:].sum(axis=1, keepdims=True), 1e-12)
    return 1 + int(conditional.astype(np.float64).mean(axis=0).argmax())
