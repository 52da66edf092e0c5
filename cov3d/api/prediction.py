"""`cov3d.predict`."""


def predict() -> None:
    """To be written."""
    raise NotImplementedError
