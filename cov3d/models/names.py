"""The names of the networks, apart from their code so that `--help` need not load torch."""

from enum import StrEnum


class Architecture(StrEnum):
    """A network that can be trained."""

    RESNET = "resnet"
