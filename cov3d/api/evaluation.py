"""`cov3d.evaluate`."""


def evaluate() -> None:
    """To be written."""
    raise NotImplementedError
