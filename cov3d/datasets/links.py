"""One scan under several names, by a link → one label, or none.

A link in `covid/` to a folder of `non-covid/` would give its scan both labels; a link beside its scan would put it into
two folds.
"""

import os
from collections import defaultdict
from pathlib import Path

from cov3d.datasets.found import UNLABELLED, Found, in_words
from cov3d.errors import ScanError
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

_NAMED = 5
"""Scans that are each reported; of more, how many there are."""


def settle_links(root: Path, found: Found) -> None:
    """Leave scans without a label whose names give them different ones, and leave out names beyond the first.

    Scans without a label, such as those of a test set, may have other names.

    Raises:
        ScanError: a folder can't be listed.
    """
    left_out, unclear = [], []
    for names in _same_scans(root, found):
        labelled = {name: found.scans[name] for name in names}
        agreed = _agreed(set(labelled.values()))
        if agreed is None:
            words = in_words(sorted({f"{partition} {label}" for partition, label in labelled.values()}))
            unclear.append(f"{in_words(labelled)} are one scan, by a link, but {words}: left without a label")
            found.scans |= dict.fromkeys(labelled, UNLABELLED)
        else:
            first, *more = labelled
            left_out.append(f"{in_words(more)} {'is a link' if len(more) == 1 else 'are links'} to {first}: left out")
            found.scans[first] = agreed
            for name in more:
                del found.scans[name]
    for sentences in (unclear, left_out):
        found.problems += sentences[:_NAMED]
        if len(sentences) > _NAMED:
            found.problems.append(f"and {len(sentences) - _NAMED} more, as {sentences[0]}")


def _agreed(given: set[tuple[str, str]]) -> tuple[str, str] | None:
    """The partition and the label that all of them have; `covid` beside a severity gives way to it."""
    partitions = {partition for partition, _ in given}
    labels = {label for _, label in given}
    if NON_COVID not in labels and len(labels) > 1:
        labels -= {UNKNOWN_SEVERITY}
    return (partitions.pop(), labels.pop()) if len(partitions) == len(labels) == 1 else None


def _same_scans(root: Path, found: Found) -> list[list[str]]:
    """Names of one labelled scan, in groups of two or more, the one without a link first.

    Each folder that holds scans is listed once; scans that are not links are ignored.
    """
    inside = defaultdict(list)
    for scan, (_, label) in found.scans.items():
        parent, _, name = scan.rpartition("/")
        if label:
            inside[parent].append(name)
    real: dict[str, list[str]] = defaultdict(list)
    for parent, names in inside.items():
        folder = os.path.realpath(root / parent)
        links = _links(root / parent)
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            real[os.path.realpath(path) if name in links else path].append(f"{parent}/{name}" if parent else name)
    top = os.path.realpath(root)
    return [
        sorted(scans, key=lambda scan: (os.path.join(top, scan) != path, scan))  # noqa: PTH118
        for path, scans in real.items()
        if len(scans) > 1
    ]


def _links(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError as error:
        raise ScanError(f"the folder {folder} can't be listed: {error.strerror}") from error
