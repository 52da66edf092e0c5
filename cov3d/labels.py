"""The words for what a scan shows: categories, labels, and which of them mean COVID-19.

A *category* is an output of a network. A *label* is what a scan table says of a scan: a category, or `covid` for a
scan known to be positive whose severity is not known. The order of the categories is their order of severity.
"""

from collections.abc import Sequence

NON_COVID = "non-covid"
UNKNOWN_SEVERITY = "covid"
SEVERITIES = ("mild", "moderate", "severe", "critical")
CATEGORIES = (NON_COVID, *SEVERITIES)
LABELS = (*CATEGORIES, UNKNOWN_SEVERITY)


def label_index(label: str, categories: Sequence[str] = CATEGORIES) -> int:
    """The integer that the loss and the metrics use for `label`.

    A category's index is its place in `categories`; unknown severity is `len(categories)`, one past the last
    output (label 5 of the paper's equations 1 to 7).

    Raises:
        ValueError: `label` is neither a category nor `covid`.
    """
    if label == UNKNOWN_SEVERITY:
        return len(categories)
    try:
        return list(categories).index(label)
    except ValueError:
        raise ValueError(f"a label is one of {', '.join((*categories, UNKNOWN_SEVERITY))}, not {label!r}") from None
