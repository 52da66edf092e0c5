"""`cov3d.crossval`."""


def crossval() -> None:
    """To be written."""
    raise NotImplementedError
