"""Notes on folds whose labels have fewer than two classes of a task, which then can't be learned or scored."""

from collections.abc import Iterable

from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY


def training_notes(labels: Iterable[str]) -> list[str]:
    """Notes on tasks that can't be learned from the training scans; empty if both have at least two classes.

    Args:
        labels: of the training scans.
    """
    presence, severity = _classes(labels)
    notes = []
    if len(presence) == 1:
        notes.append(f"presence: all training scans are {presence.pop()}: the network can't learn the other class")
    if not severity:
        notes.append("severity: no training scan has a severity: predicted severities will be meaningless")
    elif len(severity) == 1:
        notes.append(
            f"severity: all training scans with a severity are {severity.pop()}: the network can't learn the others"
        )
    return notes


def validation_notes(labels: Iterable[str], fold: int) -> list[str]:
    """Notes on tasks that can't be scored on the scans of a fold; empty if both have at least two classes.

    Args:
        labels: of the fold's scans.
        fold: its number.
    """
    presence, severity = _classes(labels)
    notes = []
    if len(presence) == 1:
        notes.append(
            f"presence: all scans of fold {fold} are {presence.pop()}: macro F1 is at most 0.5 and does not show "
            "whether the network separates the classes"
        )
    if not severity:
        notes.append(f"severity: no scan of fold {fold} has a severity: there is no score")
    elif len(severity) == 1:
        notes.append(
            f"severity: all scans of fold {fold} with a severity are {severity.pop()}: macro F1 does not show whether "
            "the network separates the severities"
        )
    return notes


def _classes(labels: Iterable[str]) -> tuple[set[str], set[str]]:
    """The classes of presence and severity that occur in the labels."""
    found = {label for label in labels if label}
    presence = {NON_COVID if label == NON_COVID else "COVID-positive" for label in found}
    return presence, found - {NON_COVID, UNKNOWN_SEVERITY}
