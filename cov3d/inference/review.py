"""Reasons why a person should review a prediction, in plain words.

A reason does not mean that the prediction is wrong. Some come from the scan (slices missing, lungs cut off), some from
comparing it with the scans that the networks were trained on, and some from the networks themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cov3d.evaluation.metrics import THRESHOLD
from cov3d.preprocessing.doubt import scan_doubts
from cov3d.preprocessing.record import ScanRecord
from cov3d.training.checkpoint import CheckpointInfo

NO_LUNGS = "no lungs were found, so the networks saw the whole image: this may not be a chest CT"

SPREAD = 0.2
"""Reviewed if the standard deviation of the probability of COVID-19, over dropout passes, is larger."""

_ASSUMED = {
    "orientation": "which way the patient lies is not in the file and was assumed, unlike in training",
    "window": "the grey levels are not in Hounsfield units and were assumed to be the usual window, unlike in training",
}


def reasons(record: Mapping[str, Any], infos: Sequence[CheckpointInfo]) -> list[str]:
    """Reasons that come from a scan: how it was read and cropped, and how it compares with the training scans.

    Args:
        record: how the scan was preprocessed, with the columns of a store's manifest.
        infos: metadata of the networks.
    """
    row = ScanRecord.of(record)
    if row.crop == "fallback":
        return [NO_LUNGS, *_intake(row, infos)]
    found = [f"the crop may be wrong: {doubt.phrase}" for doubt in scan_doubts(row)] if row.crop == "lungs" else []
    return [*found, *_unlike_training(row, infos), *_intake(row, infos)]


def reviewed(records: Sequence[Mapping[str, Any]], infos: Sequence[CheckpointInfo]) -> dict[str, str]:
    """The reasons of each scan that has some, joined by "; ", by scan."""
    found = {record["scan"]: "; ".join(reasons(record, infos)) for record in records}
    return {scan: text for scan, text in found.items() if text}


def disagreement(probabilities: NDArray[np.float32]) -> str:
    """How the networks of an ensemble disagree on presence; empty if they agree.

    Args:
        probabilities: of each network, shape (networks, categories).
    """
    positive = int((probabilities[:, 0] < THRESHOLD).sum())
    if positive in (0, len(probabilities)):
        return ""
    return f"the networks disagree: {positive} of {len(probabilities)} predict COVID-19"


def uncertainty(spread: float) -> str:
    """Whether the prediction changes much with dropout on; empty if it does not.

    Args:
        spread: standard deviation of the probability of COVID-19 over the passes.
    """
    if spread <= SPREAD:
        return ""
    return f"the prediction is unstable: its probability varies by ±{spread:.2f} when parts of the network are left out"


def _unlike_training(row: ScanRecord, infos: Sequence[CheckpointInfo]) -> Iterator[str]:
    """Reasons from lungs that are larger or smaller than those of every training scan of a network."""
    for name, what, unit, factor in (
        ("lung_share", "lung in the picture", " % of the body", 100.0),
        ("lung_ml", "lung volume", " ml", 1.0),
    ):
        value = getattr(row, name)
        ranges = [known for info in infos if (known := getattr(info, name)) is not None]
        if value is None or not ranges:
            continue
        low, high = max(least for least, _ in ranges), min(most for _, most in ranges)
        if low <= value <= high:
            continue
        compared = "more" if value > high else "less"
        digits = 1 if factor > 1 else 0
        seen = f"{factor * low:.{digits}f} to {factor * high:.{digits}f}"
        yield f"{compared} {what} than in any scan trained on ({factor * value:.{digits}f}{unit}; trained on {seen})"


def _intake(row: ScanRecord, infos: Sequence[CheckpointInfo]) -> Iterator[str]:
    """Reasons from how the scan was read."""
    for name, words in (("missing", "missing"), ("corrupt", "unreadable")):
        if count := getattr(row, name):
            yield f"{count} {'slice is' if count == 1 else 'slices are'} {words}"
    for name, sentence in _ASSUMED.items():
        seen = [name in info.assumed for info in infos if info.assumed is not None]
        if getattr(row, name) == "assumed" and seen and not all(seen):
            yield sentence
