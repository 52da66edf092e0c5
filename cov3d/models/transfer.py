"""A head of other categories: what a network learnt of STOIC's three categories is where our five start from.

Section 3.4 of the paper: negative goes to non-COVID, non-severe to mild and moderate, severe to severe and critical.
Each of our categories takes the row of its counterpart. A row that is used k times is used with ln k taken off its
bias: the k probabilities then add up to what the one was, so that at the start the network says of presence, and of
severe against not, exactly what it learnt. (The paper's own code halves weights and bias instead, which flattens the
logits of the positive categories, and so changes what the network says.)
"""

from collections import Counter
from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from cov3d.errors import CheckpointError
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES

# Of each of our categories, the place among STOIC's of the one that it starts from.
_OF_STOIC = {"non-covid": 0, "mild": 1, "moderate": 1, "severe": 2, "critical": 2}


def counterparts(theirs: Sequence[str], ours: Sequence[str]) -> list[int]:
    """For each of our categories, the place among theirs of the one that it starts from.

    Raises:
        CheckpointError: it is not known how theirs go over into ours.
    """
    if tuple(theirs) == tuple(ours):
        return list(range(len(ours)))
    if (tuple(theirs), tuple(ours)) == (STOIC_CATEGORIES, CATEGORIES):
        return [_OF_STOIC[category] for category in ours]
    raise CheckpointError(
        f"a network of the categories {', '.join(theirs)} can't be mapped to {', '.join(ours)}: only from STOIC's to "
        "the five of COV19-CT-DB is it known which becomes which"
    )


def map_head(weight: Tensor, bias: Tensor, theirs: Sequence[str], ours: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The final layer for our categories, from the one for theirs.

    Args:
        weight: shape (their categories, features).
        bias: shape (their categories,).
        theirs: their categories, in the order of the outputs.
        ours: our categories, in the order of the outputs.

    Returns:
        Weight (our categories, features) and bias (our categories,).

    Raises:
        CheckpointError: it is not known how theirs go over into ours.
    """
    rows = counterparts(theirs, ours)
    times = Counter(rows)
    shares = torch.tensor([log(times[row]) for row in rows], dtype=bias.dtype)
    return weight[rows].clone(), bias[rows] - shares
