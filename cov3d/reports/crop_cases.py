"""The scans of a manifest in the order in which a person should check their crops."""

from collections.abc import Sequence
from dataclasses import dataclass

from cov3d.preprocessing.doubt import Doubt, find_doubts, score
from cov3d.preprocessing.record import ScanRecord


@dataclass(frozen=True)
class Case:
    """A scan in the store: its record, and the doubts about its crop."""

    record: ScanRecord
    doubts: list[Doubt]

    @property
    def scan(self) -> str:
        """The scan's name."""
        return self.record.scan

    @property
    def score(self) -> int:
        """How doubtful the crop is; 0 if there are no doubts."""
        return score(self.doubts)

    @property
    def why(self) -> str:
        """The doubts in one line."""
        return "; ".join(doubt.phrase for doubt in self.doubts)

    @property
    def settled(self) -> bool:
        """Whether a person gave the box."""
        return self.record.crop == "override"


@dataclass(frozen=True)
class UnprocessedScan:
    """A scan of the dataset that is not preprocessed, and the reason."""

    scan: str
    why: str


def find_cases(records: Sequence[ScanRecord]) -> list[Case]:
    """Every scan of a store, the most doubtful first, then by name."""
    doubts = find_doubts(records)
    cases = [Case(record, doubts[record.scan]) for record in records]
    return sorted(cases, key=lambda case: (-case.score, case.scan))
