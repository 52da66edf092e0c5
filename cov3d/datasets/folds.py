"""Labelled scans → folds, balanced over the labels (section 2.1 of the paper), and stable when scans come or go.

A scan's name and the seed give it an order of preference of the folds, and a place in the queue of its label. Each scan
in turn takes the first fold of its order that has room. One scan more or less, or another label, then moves few others:
each place that is taken or given up passes from fold to fold, once through each at most. A split by rank (each fold
takes every fourth scan in the order of a hash) moves most of the scans that come after.

The scans of one patient go to one fold, together. Patients with several scans come first, the largest before the
others, while there is room for all their scans; where there is no such fold left, the one that they overfill least.
At the end, patients are moved from fold to fold while that brings the counts closer to each other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from types import MappingProxyType

from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

FOLDS = 5
_LAST = (UNKNOWN_SEVERITY, NON_COVID)
"""Labels that are split last: a change in a label also moves scans of those after it, and most scans have these."""


_Unit = tuple[str, ...]
"""A unit that is put into one fold: a scan, or all scans of a patient."""


def assign_folds(
    labels: Mapping[str, str], folds: Iterable[int], seed: int, patients: Mapping[str, str] = MappingProxyType({})
) -> dict[str, int]:
    """A fold for every scan; the counts of each label, and of all scans, differ by at most one between folds.

    All scans of a patient are in one fold, so the counts may then differ by more.

    The result depends only on names, labels, patients, folds and seed. If a scan is added, removed or relabelled, few
    other scans change their fold: for each place that changes, at most the number of folds minus one. The places that
    change are one of the scan's own label, and one of each later label if the totals must be evened out. A patient
    takes as many places as it has scans.

    Args:
        labels: label of each scan, by name.
        folds: numbers of the folds.
        seed: random seed.
        patients: patient of each scan, by name, as far as known.
    """
    folds = sorted(folds)
    queue = sorted(set(labels.values()), key=lambda label: (*(label == last for last in reversed(_LAST)), label))
    room = _rooms(Counter(labels.values()), queue, folds, seed)
    units: dict[_Unit, list[str]] = defaultdict(list)
    for scan in labels:
        units[("patient", patients[scan]) if patients.get(scan) else (scan,)].append(scan)
    needs = {unit: Counter(labels[scan] for scan in scans) for unit, scans in units.items()}
    assigned: dict[_Unit, int] = {}
    for unit in sorted(units, key=lambda unit: _turn(unit, needs[unit], queue, seed)):
        assigned[unit] = fold = _choose(unit, needs[unit], room, folds, seed)
        for label, count in needs[unit].items():
            room[label][fold] -= count
    _even_out(assigned, needs, room, seed)
    return {scan: fold for unit, fold in assigned.items() for scan in units[unit]}


def _rooms(counts: Mapping[str, int], queue: list[str], folds: list[int], seed: int) -> dict[str, dict[int, int]]:
    """How many scans of each label each fold is to have, by label and fold."""
    ahead: set[int] = set()
    room = {}
    for label in queue:
        each, left = divmod(counts[label], len(folds))
        larger, ahead = _larger(label, left, folds, ahead, seed)
        room[label] = {fold: each + (fold in larger) for fold in folds}
    return room


def _turn(unit: _Unit, needs: Mapping[str, int], queue: list[str], seed: int) -> tuple[object, ...]:
    """A key that sorts units: those of several labels first, then by label, then those of many scans first."""
    place = queue.index(next(iter(needs))) if len(needs) == 1 else -1
    return place, -sum(needs.values()), _hash(seed, "turn", *unit), unit


def _choose(
    unit: _Unit, needs: Mapping[str, int], room: Mapping[str, Mapping[int, int]], folds: list[int], seed: int
) -> int:
    """The first fold of the unit's preference that has room for it; else that which it overfills least."""

    def rank(fold: int) -> tuple[int, int, bytes]:
        left = [room[label][fold] - count for label, count in needs.items()]
        overfilled = -sum(min(0, after) for after in left)
        return overfilled, -sum(left) if overfilled else 0, _hash(seed, "fold", *unit, fold)

    return min(folds, key=rank)


def _even_out(
    assigned: dict[_Unit, int], needs: Mapping[_Unit, Mapping[str, int]], room: dict[str, dict[int, int]], seed: int
) -> None:
    """Move units, the best move first, while the squares of the places left free or overfilled become fewer."""
    alike: dict[tuple[frozenset[tuple[str, int]], int], set[_Unit]] = defaultdict(set)
    for unit, fold in assigned.items():
        alike[frozenset(needs[unit].items()), fold].add(unit)

    def gain(kind: frozenset[tuple[str, int]], fold: int, to: int) -> int:
        return sum(count * (room[label][to] - room[label][fold] - count) for label, count in kind)

    folds = sorted({fold for by_fold in room.values() for fold in by_fold})
    while any(left for by_fold in room.values() for left in by_fold.values()):
        moves = ((kind, fold, to) for (kind, fold), some in alike.items() if some for to in folds if to != fold)
        best = max(moves, key=lambda move: (gain(*move), _hash(seed, "move", sorted(move[0]), *move[1:])), default=None)
        if best is None or gain(*best) <= 0:
            return
        kind, fold, to = best
        unit = min(alike[kind, fold], key=lambda unit: _hash(seed, "fold", *unit, to))
        alike[kind, fold].remove(unit)
        alike[kind, to].add(unit)
        assigned[unit] = to
        for label, count in kind:
            room[label][fold] += count
            room[label][to] -= count


def _larger(label: str, count: int, folds: list[int], ahead: set[int], seed: int) -> tuple[set[int], set[int]]:
    """The `count` folds that get one scan of a label more than the others, and which folds are ahead afterwards.

    Args:
        ahead: the folds that have one scan more than the others, all earlier labels together.
    """
    order = sorted(folds, key=lambda fold: (fold in ahead, _hash(seed, "label", label, fold)))
    larger = set(order[:count])
    behind = set(folds) - ahead
    return larger, (ahead & larger if behind <= larger else ahead | larger)


def _hash(*parts: object) -> bytes:
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()
