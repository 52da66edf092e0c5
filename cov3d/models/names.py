"""The names of the networks. They are separate from the networks, so that `--help` does not load torch.

A member here is a choice of `--architecture`. Its other properties are in its entry, a `Network` in the file that
builds it.
"""

from enum import StrEnum


class Architecture(StrEnum):
    """A network that can be trained.

    A member has a name, its entry as `module:attribute`, and whether it has dropout (yes by default). Swin has none: it
    is regularised by stochastic depth (a dash in Table 5).

    Attributes:
        entry: location of its `Network`, as `module:attribute`.
        has_dropout: whether it has dropout.
    """

    entry: str
    has_dropout: bool

    def __new__(cls, name: str, entry: str = "", has_dropout: bool = True) -> "Architecture":
        """Make a member."""
        member = str.__new__(cls, name)
        member._value_, member.entry, member.has_dropout = name, entry, has_dropout
        return member

    RESNET = "resnet", "cov3d.models.resnet3d:RESNET"
    SWIN = "swin", "cov3d.models.swin3d:SWIN", False
    R2PLUS1D = "r2plus1d", "cov3d.models.resnet3d:R2PLUS1D"
    MC3 = "mc3", "cov3d.models.resnet3d:MC3"
