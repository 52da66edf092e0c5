"""Confusion matrices and the scores computed from them, for many sets of weights of the scans at once."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Weights = NDArray[np.float64]


def confusion(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Weights) -> Scores:
    """Weights by true class (rows) and predicted class (columns): (…, rows) → (…, classes, classes)."""
    cells = np.zeros((len(true), classes * classes))
    cells[np.arange(len(true)), true * classes + predicted] = 1.0
    return (weights @ cells).reshape(*weights.shape[:-1], classes, classes)


def f1_scores(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Weights) -> Scores:
    """Macro F1, then the F1 of each class: (…, rows) → (1 + classes, …)."""
    each = np.moveaxis(f1(confusion(true, predicted, classes, weights)), -1, 0)
    return np.concatenate([each.mean(axis=0, keepdims=True), each])


def f1(matrix: Scores) -> Scores:
    """F1 of each class, 0 if it neither occurs nor is predicted: (…, classes, classes) → (…, classes)."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    either = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return np.divide(2 * right, either, out=np.zeros_like(either), where=either > 0)


def f1_of(index: int, matrix: Scores) -> Scores:
    """F1 of one class."""
    return f1(matrix)[..., index]


def macro_f1(matrix: Scores) -> Scores:
    """Mean of the F1 over all classes, whether they occur or not."""
    return f1(matrix).mean(axis=-1)


def category_error(matrix: Scores) -> Scores:
    """Mean distance between the true and the predicted class, in classes."""
    return (matrix * _distance(matrix)).sum(axis=(-2, -1)) / matrix.sum(axis=(-2, -1))


def weighted_kappa(matrix: Scores) -> Scores:
    """Cohen's kappa with quadratic weights: 1 − the squared error divided by the squared error by chance."""
    squared = _distance(matrix) ** 2
    by_chance = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
    expected = (by_chance * squared).sum(axis=(-2, -1)) / matrix.sum(axis=(-2, -1))
    return 1 - (matrix * squared).sum(axis=(-2, -1)) / expected


def _distance(matrix: Scores) -> Scores:
    index = np.arange(matrix.shape[-1], dtype=np.float64)
    return np.abs(index[:, None] - index)
