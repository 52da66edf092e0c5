"""The prediction table: a row a scan, its probabilities, its two calls, and its label where known.

An ensemble's table has a column more for each severity, `severity_mild` and so on: the mean of its members' conditional
probabilities, which the severity is called by and which can't be worked out from the mean of their probabilities.
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
    call_presence,
    call_severity,
    conditional_severity,
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
        conditional: severity given positive, shape (scans, categories − 1), where it is not that of
            `probabilities` (an ensemble averages the two apart); it stands in the table then.
        labels: what is known of the scans; empty strings where nothing is.
        threshold: probability of non-COVID below which a scan is predicted positive.

    `severity` is filled in for every scan: the likeliest grade if the scan is positive, whatever `presence` says.
    """
    called_by = conditional_severity(probabilities) if conditional is None else conditional
    table = pd.DataFrame(probabilities, columns=probability_columns(categories))
    table.insert(0, "scan", list(scans))
    table["presence"] = np.array(PRESENCE)[call_presence(probabilities, threshold)]
    table["severity"] = np.array(categories[1:])[call_severity(called_by)]
    if labels is not None:
        table["label"] = list(labels)
    if conditional is not None:
        table[severity_columns(categories)] = conditional
    return table


def conditional_of(table: pd.DataFrame, categories: Sequence[str]) -> NDArray[np.float64]:
    """Severity given positive of each scan, shape (scans, categories − 1): an ensemble's own, else p_c / (1 − p_0)."""
    if set(columns := severity_columns(categories)) <= set(table.columns):
        return table[columns].to_numpy(dtype=np.float64)
    return conditional_severity(table[probability_columns(categories)].to_numpy(dtype=np.float64))


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


def load_predictions(file: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a prediction table and find its categories; `label` and other columns are as the file has them.

    Raises:
        PredictionsError: the file is missing or no prediction table; the sentence names the first line that is wrong.
    """
    try:
        table = pd.read_csv(file, dtype=dict.fromkeys(_WORDS, str), keep_default_na=False)
    except FileNotFoundError:
        raise PredictionsError(f"there is no prediction table at {file}") from None
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{file} can't be read as a table: {error}") from error
    return table, check_predictions(table, file)


def check_predictions(table: pd.DataFrame, file: Path | str) -> tuple[str, ...]:
    """The categories that a prediction table is of.

    Args:
        table: to check.
        file: what to call it in an error.

    Raises:
        PredictionsError: it is no prediction table; the sentence names the first line that is wrong.
    """
    for categories in (CATEGORIES, STOIC_CATEGORIES):
        probabilities = probability_columns(categories)
        given = {name for name in table.columns if name.startswith("p_")}
        if given == set(probabilities) and {"scan", "presence", "severity"} <= set(table.columns):
            _check(table, categories, file)
            return categories
    raise PredictionsError(
        f"{file} is no prediction table: its columns are {', '.join(map(str, table.columns))}, not scan, "
        "a probability of each category (p_non_covid, …), presence, severity and perhaps label"
    )


_WORDS = ("scan", "presence", "severity", "label")


def _check(table: pd.DataFrame, categories: Sequence[str], file: Path | str) -> None:
    if table.empty:
        raise PredictionsError(f"{file} has no scan in it")
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
        _check_shares(table, columns, "probabilities of each severity", file)


def _check_shares(table: pd.DataFrame, columns: list[str], what: str, file: Path | str) -> None:
    """Make sure that some columns hold numbers from 0 to 1 that add up to 1, row by row."""
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    with np.errstate(invalid="ignore"):
        within = (values >= 0).all(axis=1) & (values <= 1 + _ROUNDING).all(axis=1)
        sound = within & (np.abs(values.sum(axis=1) - 1) < _TOLERANCE)
    if not sound.all():
        line = int(sound.argmin())
        wrong = "don't add up to 1" if within[line] else "are not all numbers from 0 to 1"
        raise PredictionsError(f"{file} line {line + 2}: the {what} of {table['scan'].iloc[line]} {wrong}")


_TOLERANCE = 1e-3
"""How far from 1 the probabilities of a scan may add up: tables may have been rounded by hand."""
_ROUNDING = 1e-6
"""How far above 1 a single one may be."""
