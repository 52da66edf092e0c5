"""Scans that have a fold already, and others of the same patients → folds that split no patient.

Folds are given by the dataset's validation partition and by tables of splits, neither of which needs to know patients.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

from cov3d.datasets.found import in_words

_NAMED = 3
"""Patients that a problem names."""


def keep_whole(
    folds: dict[str, int | None], waiting: Collection[str], patients: Mapping[str, str], problems: list[str]
) -> dict[str, int | None]:
    """The folds of the scans in `folds`, and of those in `waiting` whose patient has a fold already.

    A patient with scans in two folds is in no fold: networks would be trained and scored on it. Scans that wait, of the
    patient of a validation partition's scan, are in no fold either: they are for training. Both are reported.

    Args:
        folds: the number of a fold, or None for none, by scan; 0 is validation.
        waiting: scans that are to be split.
        patients: by scan, where known.
        problems: what is found wrong is added here.
    """
    of_patient: dict[str, set[int]] = defaultdict(set)
    for scan, fold in folds.items():
        if fold is not None and patients.get(scan):
            of_patient[patients[scan]].add(fold)
    split = {patient for patient, found in of_patient.items() if len(found) > 1}
    joining = {scan: of_patient[patients[scan]] for scan in waiting if patients.get(scan) in of_patient}
    validated = {patients[scan] for scan, found in joining.items() if found == {0}} - split
    whole = {scan: None if patients.get(scan) in split else fold for scan, fold in folds.items()}
    whole |= {scan: None if len(found) > 1 or found == {0} else next(iter(found)) for scan, found in joining.items()}
    for some, words in (
        (split, "in several folds: their scans are put into none, since networks would be trained and scored on them"),
        (validated, "in fold 0 and among the scans for training: the latter are put into no fold"),
    ):
        if some:
            names = in_words(sorted(some)[:_NAMED]) + (", …" if len(some) > _NAMED else "")
            problems.append(f"{len(some)} patient{'s' * (len(some) > 1)} ({names}) would be {words}")
    return whole


def without_label(train: Mapping[str, str], folds: Mapping[str, int | None], count: int) -> list[str]:
    """Sentences on the labels that some of the folds drawn have no scan of.

    Args:
        train: the label of each scan that was split.
        folds: of these scans.
        count: of the folds drawn.
    """
    found: dict[str, list[int | None]] = defaultdict(list)
    for scan, label in train.items():
        if label:
            found[label].append(folds.get(scan))
    return [
        f"only {len(drawn)} training {'scan is' if len(drawn) == 1 else 'scans are'} {label}: "
        f"{count - len(set(drawn))} of the {count} folds drawn have none"
        for label, drawn in sorted(found.items())
        if len(drawn) < count
    ] + [
        f"the {len(drawn)} training scans that are {label} are of few patients: {count - len(set(drawn))} of the "
        f"{count} folds drawn have none"
        for label, drawn in sorted(found.items())
        if len(set(drawn)) < count <= len(drawn)
    ]
