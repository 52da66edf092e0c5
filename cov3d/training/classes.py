"""Which classes the labels of a fold have: with one class of a task there is nothing to learn, or nothing to score."""

from collections.abc import Iterable

from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY


def training_notes(labels: Iterable[str]) -> list[str]:
    """What the training scans of a run do not teach, a sentence each; none where both tasks have two classes or more.

    Args:
        labels: of the training scans.
    """
    presence, severity = _classes(labels)
    notes = []
    if len(presence) == 1:
        notes.append(f"presence: every training scan is {presence.pop()}, so the network can't learn to tell it")
    if not severity:
        notes.append("severity: no training scan has a severity, so the severities predicted will mean nothing")
    elif len(severity) == 1:
        notes.append(f"severity: every training scan with a severity is {severity.pop()}, so only that can be learnt")
    return notes


def validation_notes(labels: Iterable[str], fold: int) -> list[str]:
    """What the scans of a fold can't score, a sentence each; none where both tasks have two classes or more.

    Args:
        labels: of the fold's scans.
        fold: its number.
    """
    presence, severity = _classes(labels)
    notes = []
    if len(presence) == 1:
        notes.append(
            f"presence: every scan of fold {fold} is {presence.pop()}: macro F1 can't pass 0.5 there, and does not say "
            "whether the network tells the classes apart"
        )
    if not severity:
        notes.append(f"severity: no scan of fold {fold} has a severity: it has no score")
    elif len(severity) == 1:
        notes.append(
            f"severity: every scan of fold {fold} with a severity is {severity.pop()}: macro F1 does not say whether "
            "the network tells the severities apart"
        )
    return notes


def _classes(labels: Iterable[str]) -> tuple[set[str], set[str]]:
    """The classes of presence and of severity that occur; scans without a label count for neither."""
    found = {label for label in labels if label}
    presence = {NON_COVID if label == NON_COVID else "COVID-positive" for label in found}
    return presence, found - {NON_COVID, UNKNOWN_SEVERITY}
