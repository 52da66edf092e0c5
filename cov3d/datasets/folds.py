"""Labelled scans → folds, balanced over the labels (section 2.1 of the paper), and stable when scans come or go.

A scan's name and the seed give it an order of preference of the folds, and a place in the queue of its label. Each scan
in turn takes the first fold of its order that has room. One scan more or less, or another label, then moves few others:
each place that is taken or given up passes from fold to fold, once through each at most. A split by rank (each fold
takes every fourth scan in the order of a hash) moves most of the scans that come after.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

FOLDS = 5
_LAST = (UNKNOWN_SEVERITY, NON_COVID)
"""Labels that are split last: a change in a label also moves scans of those after it, and most scans have these."""


def deal(labels: Mapping[str, str], folds: Iterable[int], seed: int) -> dict[str, int]:
    """A fold for every scan; the counts of each label, and of all scans, differ by at most one between folds.

    The result depends on names, labels, folds and seed only. One scan more, fewer or with another label moves, of the
    other scans, at most one fewer than there are folds for every place that changes: one place of the scan's own label,
    and one of each label after it where the totals must be evened out.

    Args:
        labels: the label of each scan, by the scan's name.
        folds: the numbers of the folds.
        seed: another seed, other folds.
    """
    folds = sorted(folds)
    by_label = defaultdict(list)
    for scan, label in labels.items():
        by_label[label].append(scan)
    ahead: set[int] = set()
    dealt: dict[str, int] = {}
    for label in sorted(by_label, key=lambda label: (*(label == last for last in reversed(_LAST)), label)):
        scans = by_label[label]
        each, left = divmod(len(scans), len(folds))
        larger, ahead = _larger(label, left, folds, ahead, seed)
        dealt |= _fill(scans, {fold: each + (fold in larger) for fold in folds}, seed)
    return dealt


def _larger(label: str, count: int, folds: list[int], ahead: set[int], seed: int) -> tuple[set[int], set[int]]:
    """The `count` folds that get one scan of a label more than the others, and which folds are ahead afterwards.

    Args:
        ahead: the folds that have one scan more than the others, all earlier labels together.
    """
    order = sorted(folds, key=lambda fold: (fold in ahead, _hash(seed, "label", label, fold)))
    larger = set(order[:count])
    behind = set(folds) - ahead
    return larger, (ahead & larger if behind <= larger else ahead | larger)


def _fill(scans: list[str], room: dict[int, int], seed: int) -> dict[str, int]:
    """A fold for each of the scans of one label: in turn, the first of its preference that has room."""
    dealt: dict[str, int] = {}
    for scan in sorted(scans, key=lambda scan: (_hash(seed, "turn", scan), scan)):
        free = (fold for fold, left in room.items() if left)
        fold = min(free, key=lambda fold: _hash(seed, "fold", scan, fold))
        room[fold] -= 1
        dealt[scan] = fold
    return dealt


def _hash(*parts: object) -> bytes:
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()
