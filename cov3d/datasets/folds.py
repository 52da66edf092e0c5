"""Labelled scans → folds, balanced over the labels (section 2.1 of the paper).

Scans are dealt in the order of a hash of seed and name. A shuffle by a random generator would do as well, but its
order is a property of a library's version and of the order that the scans came in; a hash is one of the names alone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

FOLDS = 5


def deal(labels: Mapping[str, str], folds: Iterable[int], seed: int) -> dict[str, int]:
    """A fold for every scan, such that the counts of each label differ by at most one between folds.

    Args:
        labels: the label of each scan, by the scan's name.
        folds: the numbers of the folds to deal to.
        seed: another seed, another deal.

    Each label's deal starts at the fold after the last one's end, so that the totals, too, differ by at most one.
    """
    folds = sorted(folds)
    by_label = defaultdict(list)
    for scan, label in labels.items():
        by_label[label].append(scan)
    dealt: dict[str, int] = {}
    for label in sorted(by_label):
        for scan in sorted(by_label[label], key=lambda scan: _order(seed, scan)):
            dealt[scan] = folds[len(dealt) % len(folds)]
    return dealt


def _order(seed: int, scan: str) -> str:
    return hashlib.sha256(f"{seed}:{scan}".encode()).hexdigest()
