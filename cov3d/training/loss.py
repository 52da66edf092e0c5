"""The combined focal and earth mover's distance loss (section 3.2, equations 1 to 7).

All terms are computed from log-sum-exps of the logits: 1 − p is the sum over the other categories, not a difference
from one. So very confident predictions, right or wrong, neither lose precision nor overflow.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FocalEMDLoss(nn.Module):
    """(1 − λ) · focal loss + λ · earth mover's distance, averaged over the batch.

    With p = softmax(logits), an item of known category c has the focal loss −(1 − p_c)^γ log p_c and the distance
    Σ_j p_j d(j, c); an item known only to be positive has −p_0^γ log(1 − p_0) and p_0 · d(negative, positive). The
    loss of an item does not depend on the other items in the batch.

    Args:
        gamma: γ, the focusing exponent, at least 0.
        emd_weight: λ, from 0 to 1.
        distances: the distance from each category to the next; the network has one output more than these.
        negative_positive_distance: distance between negative and positive for an item of unknown severity.

    Raises:
        ValueError: an argument is out of its range.
    """

    distance: Tensor

    def __init__(
        self,
        gamma: float = 2.0,
        emd_weight: float = 0.2,
        distances: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        negative_positive_distance: float = 1.0,
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must be 0 or more, not {gamma!r}")
        if not 0 <= emd_weight <= 1:
            raise ValueError(f"emd_weight must be from 0 to 1, not {emd_weight!r}")
        if not distances or not all(step >= 0 for step in (*distances, negative_positive_distance)):
            raise ValueError(f"distances must be 0 or more, not {(*distances, negative_positive_distance)!r}")
        self.gamma = gamma
        self.emd_weight = emd_weight
        place = torch.tensor([0.0, *distances], dtype=torch.float64).cumsum(0)
        between = (place[:, None] - place[None, :]).abs()
        unknown = torch.zeros(len(place), 1, dtype=torch.float64)
        unknown[0] = negative_positive_distance
        # Column c holds the distance from each category to label c; the last column is unknown severity.
        self.register_buffer("distance", torch.cat([between, unknown], dim=1), persistent=False)

    @property
    def categories(self) -> int:
        """The number of outputs of the network."""
        return self.distance.shape[0]

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: shape (batch, categories), any floating dtype; half precision is computed in float32.
            labels: integers, shape (batch,), from 0 to `categories`; the last means positive, severity unknown.

        Raises:
            ValueError: a shape or dtype is wrong, or a label is out of range (checked on a CPU only, because a GPU
                would have to wait).
        """
        self._check(logits, labels)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        log_p = logits.log_softmax(dim=1)
        unknown = labels == self.categories
        category = labels.where(~unknown, 0)
        log_category = log_p.gather(1, category[:, None])[:, 0]
        log_others = _log_sum_of_others(log_p, category)
        # For unknown severity the two are swapped: 1 − p_0 should be near one.
        log_right = torch.where(unknown, log_others, log_category)
        log_wrong = torch.where(unknown, log_category, log_others)
        focal = -(self.gamma * log_wrong).exp() * log_right
        emd = (log_p.exp() * self.distance.to(log_p.dtype).T[labels]).sum(dim=1)
        return ((1 - self.emd_weight) * focal + self.emd_weight * emd).mean()

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        if logits.ndim != 2 or logits.shape[1] != self.categories:
            raise ValueError(f"logits must have shape (batch, {self.categories}), not {tuple(logits.shape)!r}")
        if labels.shape != logits.shape[:1] or labels.is_floating_point():
            raise ValueError(
                f"labels must be integers of shape ({len(logits)},), not {labels.dtype} of {tuple(labels.shape)!r}"
            )
        if labels.device.type == "cpu" and len(labels) and not 0 <= labels.min() <= labels.max() <= self.categories:
            raise ValueError(f"labels must be from 0 to {self.categories}, not {labels.tolist()!r}")


def _log_sum_of_others(log_p: Tensor, category: Tensor) -> Tensor:
    """log(1 − p_category), from the other categories' log-probabilities."""
    mine = torch.zeros_like(log_p, dtype=torch.bool).scatter_(1, category[:, None], True)
    return log_p.masked_fill(mine, float("-inf")).logsumexp(dim=1)
