"""Which layout a dataset's root has."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cov3d.datasets import cov19ctdb, mosmed, stoic
from cov3d.datasets.found import Found, in_words
from cov3d.errors import DatasetError


@dataclass(frozen=True)
class Layout:
    """A known layout.

    Attributes:
        name: of the dataset that has it.
        places: where its scans are, for the errors.
        fits: whether a root has it.
        find: every scan below a root that has it.
    """

    name: str
    places: str
    fits: Callable[[Path], bool]
    find: Callable[[Path], Found]


LAYOUTS = (
    Layout(cov19ctdb.NAME, "train/covid, train/non-covid, validation/…", cov19ctdb.is_cov19ctdb, cov19ctdb.find),
    Layout(stoic.NAME, stoic.SCANS.as_posix(), stoic.is_stoic, stoic.find),
    Layout(mosmed.NAME, f"{mosmed.STUDIES}/CT-0 to CT-4", mosmed.is_mosmed, mosmed.find),
)


def layout_of(root: Path) -> Layout | None:
    """The layout of the dataset at `root`, or None if it has none that is known.

    Raises:
        DatasetError: it fits more than one.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(root)]
    if len(fitting) > 1:
        places = in_words(f"{layout.name} ({layout.places})" for layout in fitting)
        raise DatasetError(f"{root} fits the layouts of {places}: give each dataset a folder of its own")
    return fitting[0] if fitting else None
