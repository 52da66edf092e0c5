"""The names of the layouts that a synthetic dataset can have, apart from the code so that `--help` need not load it."""

from enum import StrEnum


class PhantomLayout(StrEnum):
    """The dataset whose layout a synthetic one follows."""

    COV19CTDB = "cov19ctdb"
    STOIC = "stoic"
    MOSMED = "mosmed"
    PHAROS = "pharos"
    CC_CCII = "cc-ccii"
    COVID_CT_MD = "covid-ct-md"
