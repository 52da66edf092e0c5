"""The scans of a manifest in the order in which a person should check their crops."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cov3d.preprocessing.doubt import Doubt, find_doubts, score


@dataclass(frozen=True)
class Case:
    """A scan in the store: its name, its row of the manifest by column, and the doubts about its crop."""

    scan: str
    record: dict[str, Any]
    doubts: list[Doubt]

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
        return bool(self.record["crop"] == "override")


@dataclass(frozen=True)
class UnprocessedScan:
    """A scan of the dataset that is not preprocessed, and the reason."""

    scan: str
    why: str


def find_cases(manifest: pd.DataFrame) -> list[Case]:
    """Every scan of a manifest, the most doubtful first, then by name."""
    doubts = find_doubts(manifest)
    records = [{str(column): value for column, value in row.items()} for row in manifest.to_dict("records")]
    cases = [Case(record["scan"], record, doubts[record["scan"]]) for record in records]
    return sorted(cases, key=lambda case: (-case.score, case.scan))
