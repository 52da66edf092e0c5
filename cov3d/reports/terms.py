"""Short explanations of the terms on the report's page."""

from collections.abc import Iterable

from cov3d.evaluation.intervals import RESAMPLES, Method
from cov3d.evaluation.measures import (
    CALIBRATION_ERROR,
    CATEGORY_ERROR,
    F1,
    KAPPA,
    MACRO_F1,
    PR_AREA,
    ROC_AREA,
    SENSITIVITY,
)

INTERVAL = "95 % interval"

TERMS = {
    MACRO_F1: "mean of the F1 over all classes, each class counting the same. 1 is perfect, 0 the worst.",
    F1: "harmonic mean of precision (share of the scans predicted as the class that belong to it) and recall (share of "
    "the scans of the class that are predicted as it).",
    CATEGORY_ERROR: "mean distance of predicted and true severity, in classes (mild to severe is 2). 0 is perfect.",
    KAPPA: "agreement of prediction and label beyond chance. A prediction that is two classes off counts four times as "
    "much as one that is one class off. 1 is perfect, 0 is chance.",
    CALIBRATION_ERROR: "mean difference between the predicted probability and the share that came true, over ten bins "
    "of probability. 0 is perfect: of the scans given 80 %, 80 % are positive. "
    "Chance raises it if scans are few (100: 0.09).",
    ROC_AREA: "probability that a scan of the class gets a higher probability of it than another scan. 1 is perfect, "
    "0.5 is chance.",
    PR_AREA: "mean precision over all recalls. 1 is perfect; chance is the share of scans of the class.",
    SENSITIVITY: "share of the positive scans that are found, at a threshold at which at least the given share of the "
    "negative scans (the specificity) is predicted negative.",
    INTERVAL: "range of scores to expect on other scans with the same number of scans of each class. It leaves out the "
    "seed and the choice of the epoch.",
    Method.BCA.value: f"the interval is from {RESAMPLES:,} samples of the scans drawn with replacement (bootstrap, "
    "bias-corrected and accelerated).",
    Method.POSTERIOR.value: "the interval is from a Bayesian model of the predictions of each class (Jeffreys' prior). "
    "It is used if the bootstrap has no result, for example if all predictions are right.",
}
"""Explanations of scores and intervals, in the order in which they are shown."""

PAPER_TERMS = {
    "table-5": "STOIC: pretrained on STOIC. λ: weight of the earth mover's distance in the loss. σ_b, σ_c: standard "
    "deviations of the random brightness and contrast.",
}
"""Explanations of the column names of the paper's tables, by table."""


def explained(words: Iterable[str]) -> list[tuple[str, str]]:
    """The terms with which the words start, and their explanations, in the order of `TERMS`."""
    found = list(words)
    return [
        (term, text)
        for term, text in TERMS.items()
        if any(word == term or word.startswith(f"{term} ") for word in found)
    ]
