"""The words for what a scan shows: categories, labels, and which of them mean COVID-19.

A *category* is an output of a network. A *label* is what a scan table says of a scan: a category, or `covid` for a
scan known to be positive whose severity is not known. The order of the categories is their order of severity.

The categories belong to the dataset: COV19-CT-DB and MosMedData grade severity in four steps, STOIC in two. The first
category is the same in all of them.
"""

from collections.abc import Iterable, Sequence

NON_COVID = "non-covid"
UNKNOWN_SEVERITY = "covid"
SEVERITIES = ("mild", "moderate", "severe", "critical")
CATEGORIES = (NON_COVID, *SEVERITIES)
LABELS = (*CATEGORIES, UNKNOWN_SEVERITY)

STOIC_SEVERITIES = ("covid-not-severe", "covid-severe")
STOIC_CATEGORIES = (NON_COVID, *STOIC_SEVERITIES)

ALL_LABELS = (*CATEGORIES, *STOIC_SEVERITIES, UNKNOWN_SEVERITY)
"""The labels of every dataset."""

TASKS = ("presence", "severity")
"""What is asked of a scan: whether it is positive, and how severe it is if it is."""


def categories_of(labels: Iterable[str]) -> tuple[str, ...]:
    """The categories of the dataset that has these labels; empty ones say nothing.

    Labels that every dataset has, `non-covid` and `covid`, are taken for COV19-CT-DB's.

    Raises:
        ValueError: they are of two datasets, or one is of none.
    """
    found = set(labels) - {"", NON_COVID, UNKNOWN_SEVERITY}
    for categories in (CATEGORIES, STOIC_CATEGORIES):
        if found <= set(categories):
            return categories
    raise ValueError(
        f"the labels {', '.join(sorted(found))} are not of one dataset: one has {NON_COVID}, {UNKNOWN_SEVERITY} and "
        f"either {', '.join(SEVERITIES)} or {', '.join(STOIC_SEVERITIES)}"
    )


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
