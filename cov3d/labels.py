"""Categories and labels of scans, and which of them mean COVID-19.

A *category* is an output of a network. A *label* is the entry of a scan in the scan table: a category, or `covid` for a
positive scan with unknown severity. Categories are ordered by severity.

The categories depend on the dataset: COV19-CT-DB and MosMedData have four severities, STOIC has two. The first category
is the same in all datasets.
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
"""The labels of all datasets."""

TASKS = ("presence", "severity")
"""The tasks: whether a scan is positive, and the severity of positive scans."""


def categories_of(labels: Iterable[str]) -> tuple[str, ...]:
    """The categories of the dataset that has these labels. Empty labels are ignored.

    If there are only labels that all datasets have (`non-covid` and `covid`), the dataset is COV19-CT-DB.

    Raises:
        ValueError: the labels belong to two datasets, or one is unknown.
    """
    found = set(labels) - {"", NON_COVID, UNKNOWN_SEVERITY}
    for categories in (CATEGORIES, STOIC_CATEGORIES):
        if found <= set(categories):
            return categories
    raise ValueError(
        f"the labels {', '.join(sorted(found))} do not belong to one dataset, which has {NON_COVID}, "
        f"{UNKNOWN_SEVERITY} and either {', '.join(SEVERITIES)} or {', '.join(STOIC_SEVERITIES)}"
    )


def label_index(label: str, categories: Sequence[str] = CATEGORIES) -> int:
    """The index of `label` for the loss and the metrics.

    A category's index is its position in `categories`. Unknown severity is `len(categories)`, one after the last
    output (label 5 in the paper's equations 1 to 7).

    Raises:
        ValueError: `label` is neither a category nor `covid`.
    """
    if label == UNKNOWN_SEVERITY:
        return len(categories)
    try:
        return list(categories).index(label)
    except ValueError:
        raise ValueError(
            f"a label must be one of {', '.join((*categories, UNKNOWN_SEVERITY))}, not {label!r}"
        ) from None
