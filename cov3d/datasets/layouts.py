"""Which layout a dataset's root has, and the scans that it holds by that layout, or by none."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from cov3d.datasets import ccccii, cov19ctdb, covidctmd, mosmed, pharos, stoic
from cov3d.datasets.found import UNLABELLED, Found, check_names, in_words
from cov3d.datasets.links import settle_links
from cov3d.errors import DatasetError


@dataclass(frozen=True)
class Layout:
    """A known layout.

    Attributes:
        name: of the dataset that has it.
        places: where its scans are, for the errors.
        fits: whether a root has it.
        find: every scan below a root that has it; folders known to be scans are not listed.
    """

    name: str
    places: str
    fits: Callable[[Path], bool]
    find: Callable[[Path, Collection[Path]], Found]


LAYOUTS = (
    Layout(cov19ctdb.NAME, "train/covid, train/non-covid, validation/…", cov19ctdb.is_cov19ctdb, cov19ctdb.find),
    Layout(stoic.NAME, stoic.SCANS.as_posix(), stoic.is_stoic, stoic.find),
    Layout(mosmed.NAME, f"{mosmed.STUDIES}/CT-0 to CT-4", mosmed.is_mosmed, mosmed.find),
    Layout(pharos.NAME, "covid1, non-covid1, …, Validation/val/…", pharos.is_pharos, pharos.find),
    Layout(ccccii.NAME, "NCP, CP, Normal", ccccii.is_ccccii, ccccii.find),
    Layout(covidctmd.NAME, "COVID-19 Cases, Cap Cases, Normal Cases", covidctmd.is_covidctmd, covidctmd.find),
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


def search(root: Path, known: Collection[Path] = ()) -> tuple[Layout | None, Found]:
    """The layout of the dataset at `root`, and its scans; without labels where no layout is known.

    Args:
        known: folders that are scans and need not be listed.

    Raises:
        DatasetError: `root` fits two layouts or is a scan itself, a file of labels can't be read, or a name can't be
            written.
        ScanError: a folder can't be listed, or no layout is known and there is no scan.
    """
    layout = layout_of(root)
    found = layout.find(root, known) if layout else _unlabelled(root, known)
    check_names(found.scans)
    settle_links(root, found)
    return layout, found


def _unlabelled(root: Path, known: Collection[Path]) -> Found:
    from cov3d.readers import discover, walk_scans

    if known:  # of a table that is there: it may be that there is no raw scan any more
        paths = sorted(scan.path for scan in walk_scans(root, known))
        return Found(dict.fromkeys((path.relative_to(root).as_posix() for path in paths), UNLABELLED))
    discovered = discover([root])
    if root in discovered.scans:
        raise DatasetError(f"{root} holds slices itself: give the folder above it, which holds the scans")
    found = Found(dict.fromkeys((path.relative_to(root).as_posix() for path in discovered.scans), UNLABELLED))
    found.leave_out(discovered.left_out, root)
    return found
