"""The names of the networks, apart from their code so that `--help` need not load torch.

A line here makes a network a choice of `--architecture`. Everything else about it is its entry, a `Network` in the file
that makes it.
"""

from enum import StrEnum


class Architecture(StrEnum):
    """A network that can be trained.

    A member is its name, the place of its entry as `module:attribute`, and whether it takes a dropout (yes by default).
    Swin takes none: it is regularised by stochastic depth (Table 5 shows a dash).

    Attributes:
        entry: where its `Network` stands.
        has_dropout: whether it takes a dropout.
    """

    entry: str
    has_dropout: bool

    def __new__(cls, name: str, entry: str = "", has_dropout: bool = True) -> "Architecture":
        """The member of a line."""
        member = str.__new__(cls, name)
        member._value_, member.entry, member.has_dropout = name, entry, has_dropout
        return member

    RESNET = "resnet", "cov3d.models.resnet3d:RESNET"
    SWIN = "swin", "cov3d.models.swin3d:SWIN", False
    R2PLUS1D = "r2plus1d", "cov3d.models.resnet3d:R2PLUS1D"
    MC3 = "mc3", "cov3d.models.resnet3d:MC3"
