"""`cov3d.preprocess`."""


def preprocess() -> None:
    """To be written."""
    raise NotImplementedError
