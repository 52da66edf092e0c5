"""Tells synthetic datasets from real ones, so that results on phantoms are never taken for results on patients."""

from pathlib import Path

FACTS = "phantom.json"
"""The file in the root of a synthetic dataset that holds its settings."""


def is_synthetic(root: Path) -> bool:
    """Whether a dataset was made by `cov3d phantom`."""
    return (root / FACTS).is_file()
