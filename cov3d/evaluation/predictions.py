"""The prediction table: a row for each scan with its probabilities, predicted presence and severity, and known label.

An ensemble's table has an additional column for each severity, `severity_mild` and so on: the mean of its members'
conditional probabilities. The severity is predicted from it. It can't be computed from the mean probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.errors import PredictionsError
from cov3d.evaluation.metrics import (
    PRESENCE,
    THRESHOLD,
    TaskScore,
    conditional_severity,
    predict_presence,
    predict_severity,
    score_presence,
    score_severity,
)
from cov3d.files import write_text
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES, UNKNOWN_SEVERITY, label_index


def probability_columns(categories: Sequence[str]) -> list[str]:
    """`p_non_covid`, `p_mild`, …"""
    return ["p_" + category.replace("-", "_") for category in categories]


def severity_columns(categories: Sequence[str]) -> list[str]:
    """`severity_mild`, …: an ensemble's mean conditional probabilities."""
    return ["severity_" + category.replace("-", "_") for category in categories[1:]]


def prediction_table(
    scans: Sequence[str],
    probabilities: NDArray[Any],
    categories: Sequence[str],
    *,
    conditional: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
) -> pd.DataFrame:
    """Make the table.

    Args:
        scans: names, in the order of the rows.
        probabilities: shape (scans, categories).
        categories: names of the outputs.
        conditional: conditional probabilities of the severities, shape (scans, categories − 1), if they don't follow
            from `probabilities`: an ensemble averages both. They are then added to the table.
        labels: labels of the scans; empty strings if unknown.
        threshold: probability of non-COVID below which a scan is predicted positive.

    Every scan has a `severity`: the most probable one if the scan is positive, whatever its `presence`.
    """
    severities = conditional_severity(probabilities) if conditional is None else conditional
    table = pd.DataFrame(probabilities, columns=probability_columns(categories))
    table.insert(0, "scan", list(scans))
    table["presence"] = np.array(PRESENCE)[predict_presence(probabilities, threshold)]
    table["severity"] = np.array(categories[1:])[predict_severity(severities)]
    if labels is not None:
        table["label"] = list(labels)
    if conditional is not None:
        table[severity_columns(categories)] = conditional
    return table


def conditional_of(table: pd.DataFrame, categories: Sequence[str]) -> NDArray[np.float64]:
    """Conditional probabilities of the severities, shape (scans, categories − 1): a table's own, or p_c / (1 − p_0)."""
    if set(columns := severity_columns(categories)) <= set(table.columns):
        return table[columns].to_numpy(dtype=np.float64)
    return conditional_severity(table[probability_columns(categories)].to_numpy(dtype=np.float64))


def score_table(table: pd.DataFrame, categories: Sequence[str]) -> tuple[TaskScore, TaskScore]:
    """Score the predicted presence and severity of a labelled prediction table."""
    labels = np.array([label_index(label, categories) for label in table["label"]], dtype=np.int64)
    presence = np.array([PRESENCE.index(name) for name in table["presence"]], dtype=np.int64)
    severity = np.array([list(categories[1:]).index(name) for name in table["severity"]], dtype=np.int64)
    return score_presence(labels, presence), score_severity(labels, severity, categories)


def save_predictions(table: pd.DataFrame, file: Path) -> None:
    """Write a prediction table, probabilities in full float32 precision.

    Raises:
        OutputError: the file can't be written.
    """
    write_text(file, table.to_csv(index=False, lineterminator="\n", float_format="%.9g"))


def load_predictions(file: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a prediction table and find its categories; `label` and other columns are returned as they are.

    Raises:
        PredictionsError: the file is missing or not a prediction table; the message names the first wrong line.
    """
    try:
        table = pd.read_csv(file, dtype=dict.fromkeys(_WORDS, str), keep_default_na=False)
    except FileNotFoundError:
        raise PredictionsError(f"there is no prediction table at {file}") from None
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{file} can't be read as a table: {error}") from error
    return table, check_predictions(table, file)


def check_predictions(table: pd.DataFrame, file: Path | str) -> tuple[str, ...]:
    """Check a prediction table and return its categories.

    Args:
        table: the table.
        file: its name in errors.

    Raises:
        PredictionsError: it is not a prediction table; the message names the first wrong line.
    """
    for categories in (CATEGORIES, STOIC_CATEGORIES):
        probabilities = probability_columns(categories)
        given = {name for name in table.columns if name.startswith("p_")}
        if given == set(probabilities) and {"scan", "presence", "severity"} <= set(table.columns):
            _check(table, categories, file)
            return categories
    raise PredictionsError(
        f"{file} is not a prediction table: it has the columns {', '.join(map(str, table.columns))}, but needs scan, "
        "a probability of each category (p_non_covid, …), presence and severity; label is optional"
    )


_WORDS = ("scan", "presence", "severity", "label")


def _check(table: pd.DataFrame, categories: Sequence[str], file: Path | str) -> None:
    if table.empty:
        raise PredictionsError(f"{file} has no scans")
    repeated = table.loc[table["scan"].duplicated(), "scan"]
    if len(repeated):
        raise PredictionsError(f"{file} names the scan {repeated.iloc[0]} more than once")
    allowed = {
        "presence": PRESENCE,
        "severity": categories[1:],
        "label": (*categories, UNKNOWN_SEVERITY, ""),
    }
    for column, values in allowed.items():
        if column not in table or (known := table[column].isin(values)).all():
            continue
        line = int(known.argmin())
        raise PredictionsError(
            f"{file} line {line + 2}: {column} is {table[column].iloc[line]!r}, but must be one of "
            f"{', '.join(value or 'empty' for value in values)}"
        )
    _check_shares(table, probability_columns(categories), "probabilities", file)
    if set(columns := severity_columns(categories)) <= set(table.columns):
        _check_shares(table, columns, "conditional probabilities", file)


def _check_shares(table: pd.DataFrame, columns: list[str], what: str, file: Path | str) -> None:
    """Check that the columns have numbers from 0 to 1 that add up to 1 in each row."""
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    with np.errstate(invalid="ignore"):
        within = (values >= 0).all(axis=1) & (values <= 1 + _ROUNDING).all(axis=1)
        sound = within & (np.abs(values.sum(axis=1) - 1) < _TOLERANCE)
    if not sound.all():
        line = int(sound.argmin())
        wrong = "don't add up to 1" if within[line] else "are not all numbers from 0 to 1"
        raise PredictionsError(f"{file} line {line + 2}: the {what} of {table['scan'].iloc[line]} {wrong}")


_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of a scan's probabilities: tables may be rounded by hand."""
_ROUNDING = 1e-6
"""Largest excess over 1 of a single probability."""
