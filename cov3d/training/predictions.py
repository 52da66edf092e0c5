"""The prediction table: a row a scan, its probabilities, its two calls, and its label where known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.files import write_text
from cov3d.labels import label_index
from cov3d.training.metrics import (
    PRESENCE,
    TaskScore,
    call_presence,
    call_severity,
    conditional_severity,
    score_presence,
    score_severity,
)


def probability_columns(categories: Sequence[str]) -> list[str]:
    """`p_non_covid`, `p_mild`, …"""
    return ["p_" + category.replace("-", "_") for category in categories]


def prediction_table(
    scans: Sequence[str],
    probabilities: NDArray[Any],
    categories: Sequence[str],
    *,
    conditional: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Make the table.

    Args:
        scans: names, in the order of the rows.
        probabilities: shape (scans, categories).
        categories: names of the outputs.
        conditional: severity given positive, shape (scans, categories − 1), where it is not that of
            `probabilities` (an ensemble averages the two apart).
        labels: what is known of the scans; empty strings where nothing is.

    `severity` is filled in for every scan: the likeliest grade if the scan is positive, whatever `presence` says.
    """
    if conditional is None:
        conditional = conditional_severity(probabilities)
    table = pd.DataFrame(probabilities, columns=probability_columns(categories))
    table.insert(0, "scan", list(scans))
    table["presence"] = np.array(PRESENCE)[call_presence(probabilities)]
    table["severity"] = np.array(categories[1:])[call_severity(conditional)]
    if labels is not None:
        table["label"] = list(labels)
    return table


def score_table(table: pd.DataFrame, categories: Sequence[str]) -> tuple[TaskScore, TaskScore]:
    """Score the presence and the severity calls of a labelled prediction table."""
    labels = np.array([label_index(label, categories) for label in table["label"]], dtype=np.int64)
    presence = np.array([PRESENCE.index(call) for call in table["presence"]], dtype=np.int64)
    severity = np.array([list(categories[1:]).index(call) for call in table["severity"]], dtype=np.int64)
    return score_presence(labels, presence), score_severity(labels, severity, categories)


def save_predictions(table: pd.DataFrame, file: Path) -> None:
    """Write a prediction table, probabilities in full float32 precision.

    Raises:
        OutputError: the file can't be written.
    """
    write_text(file, table.to_csv(index=False, lineterminator="\n", float_format="%.9g"))
