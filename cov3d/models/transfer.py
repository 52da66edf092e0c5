"""Start the head for five categories from a network that was trained on STOIC's three.

Section 3.4 of the paper maps negative to non-COVID, non-severe to mild and moderate, and severe to severe and critical.
Each category takes the row of its counterpart. If a row is used k times, ln k is subtracted from its bias. Then the k
probabilities add up to the original one: at the start the predictions of presence, and of severe or not, do not change.
(The paper's own code halves weights and bias instead, which flattens the logits of the positive categories and changes
the predictions.)
"""

from collections import Counter
from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from cov3d.errors import CheckpointError
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES

_OF_STOIC = {"non-covid": 0, "mild": 1, "moderate": 1, "severe": 2, "critical": 2}
"""Index of the STOIC category that each category starts from."""


def counterparts(theirs: Sequence[str], ours: Sequence[str]) -> list[int]:
    """For each new category (`ours`), the index of the old category (`theirs`) that it starts from.

    Raises:
        CheckpointError: there is no mapping between them.
    """
    if tuple(theirs) == tuple(ours):
        return list(range(len(ours)))
    if (tuple(theirs), tuple(ours)) == (STOIC_CATEGORIES, CATEGORIES):
        return [_OF_STOIC[category] for category in ours]
    raise CheckpointError(
        f"a network of the categories {', '.join(theirs)} can't be mapped to {', '.join(ours)}: only STOIC's "
        "categories can be mapped to the five of COV19-CT-DB"
    )


def map_head(weight: Tensor, bias: Tensor, theirs: Sequence[str], ours: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The final layer for new categories (`ours`), from the layer for old ones (`theirs`).

    Args:
        weight: shape (old categories, features).
        bias: shape (old categories,).
        theirs: old categories, in the order of the outputs.
        ours: new categories, in the order of the outputs.

    Returns:
        Weight (new categories, features) and bias (new categories,).

    Raises:
        CheckpointError: there is no mapping between them.
    """
    rows = counterparts(theirs, ours)
    times = Counter(rows)
    shares = torch.tensor([log(times[row]) for row in rows], dtype=bias.dtype)
    return weight[rows].clone(), bias[rows] - shares
