"""Prediction tables and calls to score, made from a seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from cov3d.evaluation.predictions import prediction_table
from cov3d.evaluation.task_predictions import TaskPredictions
from cov3d.labels import CATEGORIES, SEVERITIES

VALIDATION = {"non-covid": 60, "mild": 31, "moderate": 20, "severe": 45, "critical": 5, "covid": 24}
"""Scans by label, the grades as in COV19-CT-DB's validation partition."""


def predictions(
    counts: dict[str, int] = VALIDATION, *, seed: int = 0, skill: float = 2.0, categories: Sequence[str] = CATEGORIES
) -> pd.DataFrame:
    """A labelled prediction table whose true category has a logit greater by `skill`."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    # A positive scan of unknown severity is of the first grade.
    true = [1 if label == "covid" else list(categories).index(label) for label in labels]
    logits = rng.normal(size=(len(labels), len(categories)))
    logits[np.arange(len(labels)), true] += skill
    probabilities = softmax(1.5 * logits, axis=1).astype(np.float32)
    return prediction_table([f"scan {n}" for n in range(len(labels))], probabilities, categories, labels=labels)


def certain(true: Sequence[int], called: Sequence[int], classes: tuple[str, ...] = SEVERITIES) -> TaskPredictions:
    """Calls made with certainty."""
    names = tuple(f"scan {n}" for n in range(len(true)))
    return TaskPredictions(names, classes, np.array(true), np.array(called), np.eye(len(classes))[list(called)])
