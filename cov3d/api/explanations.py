"""`explain_sanity`: do a network's explanations find lesions whose place is known?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.errors import Cov3dError
from cov3d.listener import SILENT, Listener

if TYPE_CHECKING:
    from cov3d.inference.sanity import Sanity


@dataclass(frozen=True)
class SanityResult:
    """How often explanations name the lung with the lesions.

    Attributes:
        trained: of the checkpoint.
        untrained: of a network with random weights, which must not pass.
    """

    trained: "Sanity"
    untrained: "Sanity"

    @property
    def is_passed(self) -> bool:
        """Whether the explanations of the checkpoint pass, and none of the random network's does."""
        return all(self.trained.passes) and not any(self.untrained.passes)


def explain_sanity(
    checkpoint: str | Path,
    *,
    scans: int = 20,
    seed: int = 1000,
    device: str = "auto",
    listener: Listener = SILENT,
) -> SanityResult:
    """Explain phantoms with lesions in one lung by a checkpoint and by a network with random weights.

    Args:
        checkpoint: the checkpoint.
        scans: number of phantoms.
        seed: of the phantoms.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        listener: hears what is done.

    Raises:
        CheckpointError: the file is no checkpoint.
        Cov3dError: there is no such device, or too few scans.
    """
    from cov3d.inference import sanity
    from cov3d.inference.networks import load_members
    from cov3d.training.device import choose_device

    if scans < 2:
        raise Cov3dError("scans must be at least 2: one phantom for each lung")
    target = choose_device(device)
    (member,) = load_members([Path(checkpoint)], target)
    with listener.stoppable("nothing is written"), listener.progress("explaining", 2 * scans) as advance:
        done = 0

        def on_scan() -> None:
            nonlocal done
            done += 1
            advance(done)

        both = (member, sanity.untrained(member, target))
        trained, random = (sanity.check(one, scans=scans, seed=seed, device=target, on_scan=on_scan) for one in both)
    return SanityResult(trained, random)
