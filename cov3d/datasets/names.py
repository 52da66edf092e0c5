"""The choices for a synthetic dataset, apart from the code so that `--help` need not load it."""

from enum import StrEnum


class PhantomLayout(StrEnum):
    """The dataset whose layout a synthetic one follows."""

    COV19CTDB = "cov19ctdb"
    STOIC = "stoic"
    MOSMED = "mosmed"
    PHAROS = "pharos"
    CC_CCII = "cc-ccii"
    COVID_CT_MD = "covid-ct-md"


class LesionSides(StrEnum):
    """The lungs of a synthetic dataset's COVID scans that have lesions; one-sided: half the scans left, half right."""

    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"
    ONE_SIDED = "one-sided"
