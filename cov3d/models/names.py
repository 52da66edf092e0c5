"""The names of the networks, apart from their code so that `--help` need not load torch."""

from enum import StrEnum


class Architecture(StrEnum):
    """A network that can be trained."""

    RESNET = "resnet"
    SWIN = "swin"
    R2PLUS1D = "r2plus1d"
    MC3 = "mc3"

    @property
    def has_dropout(self) -> bool:
        """Whether it takes a dropout. Swin has none: it is regularised by stochastic depth (Table 5 shows a dash)."""
        return self is not Architecture.SWIN
