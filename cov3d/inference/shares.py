"""Shares of the scans, for several commands that predict one set of scans together, on one machine or many."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Share `number` (from 1) of `n_shares`."""

    number: int = 1
    n_shares: int = 1

    def __str__(self) -> str:
        return f"{self.number} of {self.n_shares}"

    @property
    def is_all(self) -> bool:
        """Whether there is only one share."""
        return self.n_shares == 1

    def select(self, scan_names: Sequence[str], batch_size: int) -> list[str]:
        """The scans of this share: every `n_shares`-th batch.

        Complete batches are shared out, so that a scan is predicted beside the same scans whatever the number of
        shares, and its probabilities have the same digits.
        """
        batches = [scan_names[start : start + batch_size] for start in range(0, len(scan_names), batch_size)]
        return [scan for batch in batches[self.number - 1 :: self.n_shares] for scan in batch]


ALL = Share()
"""One share: all scans."""
