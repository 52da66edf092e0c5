"""Average the predictions of several members (section 3.6): probabilities, and severity given positive.

The two are averaged separately. In the mean of probabilities, a member that is sure that a scan is negative has little
weight for the severity. In the mean of conditional probabilities, all members have the same weight.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.evaluation.metrics import THRESHOLD, conditional_severity
from cov3d.evaluation.predictions import conditional_of, prediction_table, probability_columns
from cov3d.inference.member_tables import MemberTable, check_together


def mean_of_members(values: NDArray[Any]) -> NDArray[np.float64]:
    """The mean over the first axis. The order of the members does not change it, not even by rounding."""
    return np.sort(values.astype(np.float64), axis=0).mean(axis=0)


def average(
    scan_names: Sequence[str],
    probabilities: NDArray[Any],
    categories: Sequence[str],
    *,
    conditional: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
) -> pd.DataFrame:
    """The prediction table of an ensemble.

    Args:
        scan_names: in the order of the rows.
        probabilities: shape (members, scans, categories).
        categories: names of the outputs.
        conditional: severity given positive, shape (members, scans, categories − 1); computed from `probabilities` if
            not given.
        labels: of the scans, if known.
        threshold: a scan is predicted positive if its probability of non-COVID is below this.
    """
    if conditional is None and len(probabilities) > 1:
        conditional = conditional_severity(probabilities.astype(np.float64))
    return prediction_table(
        scan_names,
        mean_of_members(probabilities),
        categories,
        conditional=None if conditional is None else mean_of_members(conditional),
        labels=labels,
        threshold=threshold,
    )


def average_tables(members: Sequence[MemberTable], threshold: float = THRESHOLD) -> pd.DataFrame:
    """The prediction table of an ensemble of tables, sorted by scan, with labels if a member has them.

    Raises:
        PredictionsError: the members differ in their scans, categories or labels.
    """
    check_together(members)
    categories = members[0].categories
    return average(
        list(members[0].table["scan"]),
        stacked_probabilities(members),
        categories,
        conditional=stacked_conditional(members),
        labels=known_labels(members),
        threshold=threshold,
    )


def stacked_probabilities(members: Sequence[MemberTable]) -> NDArray[np.float64]:
    """Probabilities, shape (members, scans, categories). Members must have passed `check_together`."""
    columns = probability_columns(members[0].categories)
    return np.stack([member.table[columns].to_numpy(dtype=np.float64) for member in members])


def stacked_conditional(members: Sequence[MemberTable]) -> NDArray[np.float64]:
    """Severity given positive, shape (members, scans, categories − 1)."""
    return np.stack([conditional_of(member.table, member.categories) for member in members])


def known_labels(members: Sequence[MemberTable]) -> list[str] | None:
    """The label of each scan, from any member that has it, else empty; None if no table has labels."""
    labelled = [member.table["label"] for member in members if "label" in member.table]
    if not labelled:
        return None
    return [next((label for label in row if label), "") for row in zip(*labelled, strict=True)]
