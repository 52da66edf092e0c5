"""`cov3d.train`."""


def train() -> None:
    """To be written."""
    raise NotImplementedError
